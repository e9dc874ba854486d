"""arq on a Redis that fsyncs before it answers (`appendonly yes`, `appendfsync always`)."""

from __future__ import annotations

import asyncio
import contextlib
import os
import subprocess
import sys
import time
from collections.abc import AsyncIterator
from typing import Any, ClassVar

from arq import create_pool
from arq.connections import ArqRedis, RedisSettings
from arq.constants import default_queue_name

from outhaul_bench import drive
from outhaul_bench.child import environment
from outhaul_bench.peers import redis_server

PORT = "BENCH_REDIS_PORT"


async def noop(context: dict[str, Any], payload: dict[str, Any]) -> float:  # noqa: ARG001 — it does nothing
    return time.monotonic()


class WorkerSettings:
    """arq's own defaults poll twice a second and run 10 jobs at once; these suit it better."""

    functions: ClassVar = [noop]
    redis_settings: ClassVar = RedisSettings(port=int(os.environ.get(PORT, "1")))
    max_jobs: ClassVar = 256
    poll_delay: ClassVar = 0.001
    log_results: ClassVar = False


@contextlib.asynccontextmanager
async def _pool(folder: str) -> AsyncIterator[ArqRedis]:
    with redis_server.running(folder) as port:
        pool = await create_pool(RedisSettings(port=port))
        os.environ[PORT] = str(port)
        yield pool
        await pool.aclose()


@contextlib.asynccontextmanager
async def _worker(pool: ArqRedis) -> AsyncIterator[None]:
    process = subprocess.Popen(  # noqa: ASYNC220 — before the clock starts
        [sys.executable, "-m", "arq", "outhaul_bench.peers.arq_jobs.WorkerSettings"],
        env=environment(),
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    try:
        ready = await pool.enqueue_job("noop", drive.PAYLOAD)
        assert ready is not None
        await ready.result(timeout=20, poll_delay=0.01)
        yield
    finally:
        process.terminate()
        process.wait()


async def enqueue(folder: str, awaiters: int, seconds: float) -> dict[str, Any]:
    async with _pool(folder) as pool:
        figures = await drive.enqueue_for(
            lambda payload: pool.enqueue_job("noop", payload), awaiters, seconds
        )
        assert await pool.zcard(default_queue_name) >= figures["count"]
        return figures


async def finish(folder: str, awaiters: int, count: int) -> dict[str, Any]:
    async with _pool(folder) as pool, _worker(pool):

        async def all_done() -> None:
            while await pool.zcard(default_queue_name):
                await asyncio.sleep(0.01)

        return await drive.finish(
            lambda payload: pool.enqueue_job("noop", payload), all_done, awaiters, count
        )


async def dispatch(folder: str, count: int) -> dict[str, Any]:
    async with _pool(folder) as pool, _worker(pool):

        async def put_and_start() -> float:
            job = await pool.enqueue_job("noop", drive.PAYLOAD)
            assert job is not None
            started: float = await job.result(poll_delay=0.001)
            return started

        return await drive.dispatch(put_and_start, count)
