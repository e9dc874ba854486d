"""taskiq on a Redis stream, the broker its documentation advises; a worker, 256 jobs at once."""

from __future__ import annotations

import contextlib
import os
from collections.abc import AsyncIterator
from typing import Any

from redis.asyncio import Redis
from taskiq_redis import RedisStreamBroker

from outhaul_bench.drive import Put
from outhaul_bench.peers.reports import report
from outhaul_bench.peers.servers import PLACE

WORKER = (
    *("taskiq", "worker", f"{__name__}:broker"),
    *("--workers", "1", "--max-async-tasks", "256", "--log-level", "ERROR"),
)

broker = RedisStreamBroker(os.environ[PLACE])


@broker.task("noop")
async def noop(payload: dict[str, Any]) -> None:  # noqa: ARG001 — it does nothing
    report()


@contextlib.asynccontextmanager
async def putting(*, threads: int, runs: bool) -> AsyncIterator[Put]:  # noqa: ARG001 — it awaits
    await broker.startup()
    yield noop.kiq
    await broker.shutdown()


async def stored() -> int:
    async with Redis(connection_pool=broker.connection_pool) as redis:
        return int(await redis.xlen(broker.queue_name))
