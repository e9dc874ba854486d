"""procrastinate on PostgreSQL, its own worker with 256 jobs at once, which PostgreSQL wakes."""

from __future__ import annotations

import contextlib
import os
from collections.abc import AsyncIterator
from typing import Any

from procrastinate import App, PsycopgConnector

from outhaul_bench.drive import Put
from outhaul_bench.peers.elsewhere import ON_UVLOOP
from outhaul_bench.peers.reports import report
from outhaul_bench.peers.servers import PLACE

WORKER = (
    ON_UVLOOP, "procrastinate", "--app", f"{__name__}.app", "worker", "--concurrency", "256",
)  # fmt: skip

app = App(connector=PsycopgConnector(conninfo=os.environ[PLACE], min_size=4, max_size=16))


@app.task(name="noop")
async def noop(payload: dict[str, Any]) -> None:  # noqa: ARG001 — it does nothing
    report()


@contextlib.asynccontextmanager
async def putting(*, threads: int, runs: bool) -> AsyncIterator[Put]:  # noqa: ARG001 — it awaits
    async with app.open_async():
        await app.schema_manager.apply_schema_async()
        yield lambda payload: noop.defer_async(payload=payload)


async def put_all(payloads: list[dict[str, Any]]) -> None:
    await noop.batch_defer_async(*({"payload": payload} for payload in payloads))


async def stored() -> int:
    row = await app.connector.execute_query_one_async(
        "select count(*) as number from procrastinate_jobs where status = 'todo'"
    )
    return int(row["number"])
