"""A newer outhaul brings the store to its version while an older one still has it open."""

from __future__ import annotations

import asyncio
import subprocess
import sys
from pathlib import Path

import pytest

from outhaul import PythonWorker, TaskContext, TaskStatus, WorkManager
from outhaul.errors import StoreTooNewError

# Not in this process: its SQLite would take away the locks of ours.
UPGRADE = "import sqlite3, sys; sqlite3.connect(sys.argv[1]).execute('PRAGMA user_version=99')"


async def test_the_older_one_writes_nothing_more_and_stops_what_it_runs(tmp_path: Path) -> None:
    store, began, ended = tmp_path / "work.db", asyncio.Event(), asyncio.Event()

    async def work(_: None, __: TaskContext) -> None:
        began.set()
        try:
            await asyncio.Event().wait()
        finally:
            ended.set()

    async with WorkManager(store, workers={"work": work}) as manager:
        task = await manager.enqueue("a", PythonWorker("work"))
        await began.wait()
        await asyncio.to_thread(
            subprocess.run, [sys.executable, "-c", UPGRADE, str(store)], check=True
        )
        with pytest.raises(StoreTooNewError):
            await manager.enqueue("b", PythonWorker("work"))
        await asyncio.wait_for(ended.wait(), 10)
        assert await task.status() is TaskStatus.RUNNING  # as the newer one will find it
        assert await manager.get_task("b") is None
        await asyncio.wait_for(manager.drain(), 10)
