"""saq on Redis, its own worker with 256 jobs at once."""

from __future__ import annotations

import contextlib
import os
from collections.abc import AsyncIterator
from typing import Any

from saq import Queue

from outhaul_bench.drive import Put
from outhaul_bench.peers.elsewhere import ON_UVLOOP
from outhaul_bench.peers.reports import report
from outhaul_bench.peers.servers import PLACE

WORKER = (ON_UVLOOP, "saq", f"{__name__}.settings")

# At its default 20 calls of it are under way at once, and the others wait.
queue = Queue.from_url(os.environ[PLACE], max_concurrent_ops=512)


async def noop(context: Any, *, payload: dict[str, Any]) -> None:  # noqa: ARG001 — it does nothing
    report()


settings = {"queue": queue, "functions": [noop], "concurrency": 256}


@contextlib.asynccontextmanager
async def putting(*, threads: int, runs: bool) -> AsyncIterator[Put]:  # noqa: ARG001 — it awaits
    await queue.connect()
    yield lambda payload: queue.enqueue("noop", payload=payload)
    await queue.disconnect()


async def stored() -> int:
    count: int = await queue.count("queued")
    return count
