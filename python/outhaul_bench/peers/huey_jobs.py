"""huey over SQLite as its documentation advises: WAL (its default), `fsync=True`, its consumer.

Its enqueue blocks, so an async service calls it in a thread. One thread is its fastest form, since
SQLite has one writer; a pool with a thread per caller is what `asyncio.to_thread` gives.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import subprocess
import sys
import time
from collections.abc import AsyncIterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

from huey import SqliteHuey

from outhaul_bench import drive
from outhaul_bench.child import environment

# The consumer imports this module and must find the same file.
FOLDER = "BENCH_HUEY_FOLDER"
CONSUMER = ("--workers", "4", "--delay", "0.001", "--max-delay", "0.001")

huey = SqliteHuey(
    filename=str(Path(os.environ.get(FOLDER, "/nowhere"), "huey.db")),
    fsync=True,
    create_tables=FOLDER in os.environ,
)


@huey.task()
def noop(payload: dict[str, Any]) -> float:  # noqa: ARG001 — it does nothing
    return time.monotonic()


def _store(folder: str) -> SqliteHuey:
    huey.storage.filename = str(Path(folder, "huey.db"))
    huey.storage.initialize_schema()
    return huey


async def enqueue(folder: str, awaiters: int, seconds: float, threads: int) -> dict[str, Any]:
    store = _store(folder)
    loop = asyncio.get_running_loop()
    with ThreadPoolExecutor(threads) as pool:
        figures = await drive.enqueue_for(
            lambda payload: loop.run_in_executor(pool, noop, payload), awaiters, seconds
        )
    assert store.pending_count() >= figures["count"]
    return figures


@contextlib.asynccontextmanager
async def _consumer(folder: str) -> AsyncIterator[None]:
    command = [sys.executable, "-m", "huey.bin.huey_consumer", "outhaul_bench.peers.huey_jobs.huey"]
    process = subprocess.Popen(  # noqa: ASYNC220 — before the clock starts
        [*command, *CONSUMER, "--quiet"],
        env={**environment(), FOLDER: folder},
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    try:
        ready = noop(drive.PAYLOAD)
        await asyncio.to_thread(ready.get, blocking=True, timeout=20)
        yield
    finally:
        process.terminate()
        process.wait()


async def finish(folder: str, awaiters: int, count: int) -> dict[str, Any]:
    store = _store(folder)
    loop = asyncio.get_running_loop()

    async def all_done() -> None:
        while store.result_count() < count:
            await asyncio.sleep(0.01)

    async with _consumer(folder):
        with ThreadPoolExecutor(1) as pool:
            return await drive.finish(
                lambda payload: loop.run_in_executor(pool, noop, payload), all_done, awaiters, count
            )


async def dispatch(folder: str, count: int) -> dict[str, Any]:
    _store(folder)

    def put_and_start() -> float:
        started: float = noop(drive.PAYLOAD).get(blocking=True, backoff=1, max_delay=0.001)
        return started

    async with _consumer(folder):
        return await drive.dispatch(lambda: asyncio.to_thread(put_and_start), count)
