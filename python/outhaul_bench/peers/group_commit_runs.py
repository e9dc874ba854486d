"""The pure-Python group commit, driven like everybody else."""

from __future__ import annotations

import asyncio
import time
from pathlib import Path
from typing import Any

from outhaul_bench import drive
from outhaul_bench.peers.group_commit import GroupCommit


async def enqueue(folder: str, awaiters: int, seconds: float) -> dict[str, Any]:
    store = GroupCommit(str(Path(folder, "jobs.db")))
    figures = await drive.enqueue_for(store.put, awaiters, seconds)
    await store.close()
    return figures


async def enqueue_all(folder: str, batches: int, each: int) -> dict[str, Any]:
    store = GroupCommit(str(Path(folder, "jobs.db")))
    figures = await drive.enqueue_all(store.put_all, batches, each)
    await store.close()
    return figures


async def finish(folder: str, awaiters: int, count: int) -> dict[str, Any]:
    """The putter runs its job at once, in a task of its own, and notes its end."""
    store = GroupCommit(str(Path(folder, "jobs.db")))
    running: set[asyncio.Task[Any]] = set()

    async def work(job: int) -> None:
        await store.done(job)

    async def put(payload: dict[str, Any]) -> None:
        task = asyncio.create_task(work(await store.put(payload)))
        running.add(task)
        task.add_done_callback(running.discard)

    async def all_done() -> None:
        while running:
            await asyncio.wait(running)

    figures = await drive.finish(put, all_done, awaiters, count)
    await store.close()
    return figures


async def dispatch(folder: str, count: int) -> dict[str, Any]:
    store = GroupCommit(str(Path(folder, "jobs.db")))

    async def put_and_start() -> float:
        job = await store.put(drive.PAYLOAD)
        started = time.monotonic()
        await store.done(job)
        return started

    figures = await drive.dispatch(put_and_start, count)
    await store.close()
    return figures
