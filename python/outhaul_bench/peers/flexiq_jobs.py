"""flexiq, a queue with a Rust core, over SQLite or PostgreSQL; its own worker.

Its SQLite has `synchronous=NORMAL`, which cannot be changed: what it has confirmed can be lost with
the power. On PostgreSQL it is as durable as that is.
"""

from __future__ import annotations

import os
from contextlib import AbstractAsyncContextManager
from pathlib import Path
from typing import Any

from flexiq import Queue

from outhaul_bench.drive import Put
from outhaul_bench.peers.elsewhere import in_threads
from outhaul_bench.peers.reports import report
from outhaul_bench.peers.servers import PLACE

WORKER = ("flexiq.cli", "worker", "--app", f"{__name__}:queue")

_place = os.environ[PLACE]
_tuned: dict[str, Any] = {
    "workers": 8,
    "scheduler_poll_interval_ms": 1,
    "scheduler_batch_size": 256,
}
queue = (
    Queue(backend="postgres", db_url=_place, **_tuned)
    if _place.startswith("postgresql:")
    else Queue(db_path=str(Path(_place, "flexiq.db")), **_tuned)
)


@queue.task()
def noop(payload: dict[str, Any]) -> None:  # noqa: ARG001 — it does nothing
    report()


def putting(*, threads: int, runs: bool) -> AbstractAsyncContextManager[Put]:  # noqa: ARG001 — see WORKER
    return in_threads(threads, noop.delay)


async def put_all(payloads: list[dict[str, Any]]) -> None:
    await queue.aenqueue_many(task_name=noop.name, args_list=[(one,) for one in payloads])


async def stored() -> int:
    stats = await queue.astats()
    return stats["pending"]
