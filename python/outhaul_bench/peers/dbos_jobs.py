"""DBOS over SQLite: a workflow for each job, of a queue that is polled as often as it may be.

It runs its workflows itself.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

from dbos import DBOS

from outhaul_bench.drive import Put
from outhaul_bench.peers.reports import report
from outhaul_bench.peers.servers import PLACE

WORKER = ()
POLL_S = 0.01


@DBOS.workflow()
async def noop(payload: dict[str, Any]) -> None:  # noqa: ARG001 — it does nothing
    report()


@contextlib.asynccontextmanager
async def putting(*, threads: int, runs: bool) -> AsyncIterator[Put]:  # noqa: ARG001 — it awaits
    store = Path(os.environ[PLACE], "dbos.db")
    DBOS(
        config={
            "name": "bench",
            "system_database_url": f"sqlite:///{store}",
            "log_level": "ERROR",
            "run_admin_server": False,
        }
    )
    DBOS.listen_queues(["bench"] if runs else ["another"])
    DBOS.launch()
    queue = await DBOS.register_queue_async("bench", polling_interval_sec=POLL_S)
    yield lambda payload: queue.enqueue_async(noop, payload)
    await asyncio.to_thread(DBOS.destroy)


async def stored() -> int:
    return len(await DBOS.list_queued_workflows_async())
