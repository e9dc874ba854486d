"""What a store holds, read by another SQLite. Only while no process has the store open."""

from __future__ import annotations

import contextlib
import shutil
import sqlite3
from typing import TYPE_CHECKING, Any

from outhaul.model import EventKind, TaskStatus

if TYPE_CHECKING:
    from pathlib import Path

# The numbers under which `rust/core/src/model/state.rs` stores what has ended.
ENDED = {
    10: TaskStatus.COMPLETED,
    11: TaskStatus.FAILED,
    12: TaskStatus.CANCELLED,
    13: TaskStatus.EXPIRED,
}
COMPLETED_EVENT = list(EventKind).index(EventKind.COMPLETED)


def copy_of(store: Path, folder: Path) -> Path:
    """The store as a dead process left it, to be looked at: the next one is to find the original.

    Without the shared memory, which is rebuilt from the WAL.
    """
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir()
    for end in ("", "-wal", "-journal"):
        part = store.with_name(store.name + end)
        if part.exists():
            shutil.copy(part, folder)
    return folder / store.name


def rows(store: Path, sql: str) -> list[tuple[Any, ...]]:
    with contextlib.closing(sqlite3.connect(store)) as connection:
        return connection.execute(sql).fetchall()


def assert_sound(store: Path) -> None:
    """SQLite finds no fault, and every task is live or done: never both, never neither."""
    assert rows(store, "PRAGMA integrity_check") == [("ok",)]
    homes = """
        SELECT task.key, live.key IS NOT NULL, done.key IS NOT NULL
        FROM task LEFT JOIN live USING (key) LEFT JOIN done USING (key)
        WHERE (live.key IS NULL) = (done.key IS NULL)"""
    assert rows(store, homes) == []
    assert rows(store, "SELECT key FROM live EXCEPT SELECT key FROM task") == []
    assert rows(store, "SELECT key FROM done EXCEPT SELECT key FROM task") == []
    alone = """
        SELECT seq FROM event WHERE NOT EXISTS (
            SELECT 1 FROM task WHERE task.key BETWEEN event.key AND event.key + event.more)"""
    assert rows(store, alone) == []


def task_ids(store: Path) -> list[str]:
    return [task_id for (task_id,) in rows(store, "SELECT task_id FROM task ORDER BY key")]


def endings(store: Path) -> dict[str, TaskStatus]:
    found = rows(store, "SELECT task_id, status FROM task JOIN done USING (key)")
    return {task_id: ENDED[status] for task_id, status in found}
