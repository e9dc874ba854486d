"""APScheduler 3 with a job store in SQLite. It runs its jobs itself, on the event loop.

`add_job` blocks for a commit, so an async service calls it in a thread.
"""

from __future__ import annotations

import contextlib
import os
from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

from apscheduler.jobstores.sqlalchemy import SQLAlchemyJobStore
from apscheduler.schedulers.asyncio import AsyncIOScheduler

from outhaul_bench.drive import Put
from outhaul_bench.peers.elsewhere import in_threads
from outhaul_bench.peers.reports import report
from outhaul_bench.peers.servers import PLACE

WORKER = ()

_store = SQLAlchemyJobStore(url=f"sqlite:///{Path(os.environ[PLACE], 'jobs.db')}")


async def noop(payload: dict[str, Any]) -> None:  # noqa: ARG001 — it does nothing
    report()


@contextlib.asynccontextmanager
async def putting(*, threads: int, runs: bool) -> AsyncIterator[Put]:
    scheduler = AsyncIOScheduler(
        jobstores={"default": _store}, job_defaults={"misfire_grace_time": None}
    )
    scheduler.start()
    wait = timedelta(0) if runs else timedelta(hours=1)

    def add(payload: dict[str, Any]) -> None:
        scheduler.add_job(noop, "date", run_date=datetime.now(UTC) + wait, args=[payload])

    async with in_threads(threads, add) as put:
        yield put
    scheduler.shutdown(wait=False)


async def stored() -> int:
    return len(_store.get_all_jobs())
