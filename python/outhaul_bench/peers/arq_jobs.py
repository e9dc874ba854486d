"""arq on Redis, its worker with 256 jobs at once and a poll of 1 ms: its defaults are slower."""

from __future__ import annotations

import contextlib
import os
from collections.abc import AsyncIterator
from typing import Any, ClassVar

from arq import create_pool
from arq.connections import RedisSettings
from arq.constants import default_queue_name

from outhaul_bench.drive import Put
from outhaul_bench.peers.elsewhere import ON_UVLOOP
from outhaul_bench.peers.reports import report
from outhaul_bench.peers.servers import PLACE

WORKER = (ON_UVLOOP, "arq", f"{__name__}.WorkerSettings")
_REDIS = RedisSettings.from_dsn(os.environ[PLACE])


async def noop(context: dict[str, Any], payload: dict[str, Any]) -> None:  # noqa: ARG001 — it does nothing
    report()


class WorkerSettings:
    """arq's own defaults poll twice a second and run 10 jobs at once."""

    functions: ClassVar = [noop]
    redis_settings: ClassVar = _REDIS
    max_jobs: ClassVar = 256
    poll_delay: ClassVar = 0.001
    log_results: ClassVar = False
    keep_result: ClassVar = 0


@contextlib.asynccontextmanager
async def putting(*, threads: int, runs: bool) -> AsyncIterator[Put]:  # noqa: ARG001 — it awaits
    pool = await create_pool(_REDIS)
    yield lambda payload: pool.enqueue_job("noop", payload)
    await pool.aclose()


async def stored() -> int:
    pool = await create_pool(_REDIS)
    count: int = await pool.zcard(default_queue_name)
    await pool.aclose()
    return count
