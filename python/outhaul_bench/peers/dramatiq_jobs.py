"""dramatiq on a Redis that fsyncs before it answers, its own workers in another process.

Its enqueue blocks, so an async service calls it in a thread.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import subprocess
import sys
from collections.abc import AsyncIterator, Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import dramatiq
from dramatiq.brokers.redis import RedisBroker

from outhaul_bench import drive
from outhaul_bench.child import environment
from outhaul_bench.peers import redis_server

PORT = "BENCH_REDIS_PORT"

broker = RedisBroker(host="127.0.0.1", port=int(os.environ.get(PORT, "1")))
dramatiq.set_broker(broker)


@dramatiq.actor
def noop(payload: dict[str, Any]) -> None:  # noqa: ARG001 — it does nothing
    """Counts in Redis that it was done: a queue that is empty has not ended its jobs."""
    broker.client.incr("done")


@contextlib.contextmanager
def _connected(folder: str) -> Iterator[None]:
    with redis_server.running(folder) as port:
        os.environ[PORT] = str(port)
        broker.client.connection_pool.connection_kwargs["port"] = port
        yield


@contextlib.asynccontextmanager
async def _worker() -> AsyncIterator[None]:
    command = [sys.executable, "-m", "dramatiq", __name__, "--processes", "1", "--threads", "8"]
    process = subprocess.Popen(  # noqa: ASYNC220 — before the clock starts
        command, env=environment(), stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
    )
    try:
        noop.send(drive.PAYLOAD)
        await _done(1)
        yield
    finally:
        process.terminate()
        process.wait()


async def _done(count: int) -> None:
    while int(broker.client.get("done") or 0) < count:
        await asyncio.sleep(0.01)


async def enqueue(folder: str, awaiters: int, seconds: float, threads: int) -> dict[str, Any]:
    loop = asyncio.get_running_loop()
    with _connected(folder), ThreadPoolExecutor(threads) as pool:
        figures = await drive.enqueue_for(
            lambda payload: loop.run_in_executor(pool, noop.send, payload), awaiters, seconds
        )
        assert broker.client.hlen("dramatiq:default.msgs") >= figures["count"]
    return figures


async def finish(folder: str, awaiters: int, count: int) -> dict[str, Any]:
    loop = asyncio.get_running_loop()
    with _connected(folder), ThreadPoolExecutor(8) as pool:
        async with _worker():
            return await drive.finish(
                lambda payload: loop.run_in_executor(pool, noop.send, payload),
                lambda: _done(count + 1),
                awaiters,
                count,
            )
