"""A store and its files: one name for each, and nothing is acknowledged once they are gone."""

from __future__ import annotations

import asyncio
import contextlib
import fcntl
import os
import sqlite3
import sys
import time
from pathlib import Path

import pytest

from outhaul import NativeWorker, PythonWorker, Task, WorkManager
from outhaul.errors import SecurityViolationError, StoreUnavailableError


def locks_of_this_process() -> list[str]:
    lines = Path("/proc/locks").read_text(encoding="ascii").splitlines()
    locks = (line.split() for line in lines)
    return [" ".join(lock[1:]) for lock in locks if lock[4] == str(os.getpid())]


@pytest.mark.skipif(sys.platform != "linux", reason="the locks are read where Linux tells them")
async def test_a_store_cannot_be_sent_while_it_is_in_use_which_would_end_its_locks(
    tmp_path: Path,
) -> None:
    store = tmp_path / "work.db"
    (tmp_path / "link").symlink_to(store)
    async with WorkManager(store) as manager:
        await manager.stats()
        os.link(store, tmp_path / "twin")
        before = locks_of_this_process()
        for name in ("work.db", "work.db-wal", "work.db-shm", "link", "twin"):
            worker = NativeWorker.http_upload(url="http://127.0.0.1:9/", file_path=tmp_path / name)
            with pytest.raises(SecurityViolationError, match="belongs to a store"):
                await manager.enqueue(None, worker)
        assert before
        assert set(before) <= set(locks_of_this_process())


def peek(store: Path) -> None:
    """Python's own SQLite sees no lock of this process: it takes the WAL away as it closes."""
    connection = sqlite3.connect(store)
    connection.execute("SELECT count(*) FROM task").fetchone()
    connection.close()


def take_away(store: Path) -> None:
    for end in ("", "-wal", "-shm"):
        Path(f"{store}{end}").rename(f"{store}{end}.old")


@pytest.mark.parametrize("disturb", [peek, take_away])
async def test_nothing_is_acknowledged_once_the_files_are_gone(
    tmp_path: Path, disturb: object
) -> None:
    assert callable(disturb)
    store = tmp_path / "work.db"
    async with WorkManager(store, workers="elsewhere", run=False) as manager:
        await manager.enqueue("before", PythonWorker("x"))
        disturb(store)
        for number in range(2):
            with pytest.raises(StoreUnavailableError, match="removed or replaced"):
                await manager.enqueue(f"after-{number}", PythonWorker("x"))
    if disturb is take_away:
        for end in ("", "-wal", "-shm"):
            with contextlib.suppress(FileNotFoundError):
                Path(f"{store}{end}.old").rename(f"{store}{end}")
    async with WorkManager(store, workers="elsewhere", run=False) as manager:
        assert await manager.get_task("before") is not None
        await manager.enqueue("again", PythonWorker("x"))


async def test_a_store_with_two_names_is_refused(tmp_path: Path) -> None:
    store = tmp_path / "work.db"
    async with WorkManager(store):
        pass
    os.link(store, tmp_path / "snapshot.db")
    for name in ("work.db", "snapshot.db"):
        with pytest.raises(StoreUnavailableError, match="hard link"):
            async with WorkManager(tmp_path / name):
                pass
    (tmp_path / "snapshot.db").unlink()
    async with WorkManager(store):
        pass


def is_locked(path: Path) -> bool:
    try:
        with path.open("rb") as file:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except FileNotFoundError:
        return False
    except BlockingIOError:
        return True
    return False


@pytest.mark.timeout(60)
def test_a_child_that_is_forked_while_the_store_is_opened_does_not_keep_it_from_others(
    tmp_path: Path,
) -> None:
    store = tmp_path / "work.db"

    async def fill() -> None:
        async with WorkManager(store, workers="elsewhere", durability="os") as manager:
            for _ in range(100):
                await manager.enqueue_all([Task(None, PythonWorker("x")) for _ in range(1000)])

    async def open_and_fork() -> int:
        opening = asyncio.ensure_future(WorkManager(store, workers="elsewhere").__aenter__())
        while not is_locked(tmp_path / "work.db.runner") and not opening.done():
            await asyncio.sleep(0.001)
        child = os.fork()
        if child == 0:
            linger()
        return child

    def linger() -> None:
        time.sleep(30)
        os._exit(0)

    asyncio.run(fill())
    reading, writing = os.pipe()
    parent = os.fork()
    if parent == 0:
        child = asyncio.new_event_loop().run_until_complete(open_and_fork())
        os.write(writing, str(child).encode())
        os._exit(0)  # at once: as if it was killed
    os.close(writing)
    child = int(os.read(reading, 20))
    os.waitpid(parent, 0)
    try:
        assert not is_locked(tmp_path / "work.db.runner")
    finally:
        os.kill(child, 9)
