"""pgqueuer on PostgreSQL by asyncpg, its own worker, 256 jobs at a time."""

from __future__ import annotations

import contextlib
import os
from collections.abc import AsyncIterator
from typing import Any

import asyncpg
import msgspec
import uvloop
from pgqueuer import PgQueuer
from pgqueuer.db import AsyncpgDriver, AsyncpgPoolDriver
from pgqueuer.models import Job
from pgqueuer.queries import Queries

from outhaul_bench.drive import Put
from outhaul_bench.peers.reports import report
from outhaul_bench.peers.servers import PLACE

WORKER = (__name__,)

_encode = msgspec.msgpack.Encoder().encode
_open: list[Queries] = []


async def work() -> None:
    """The worker. What `pgq run` does, which fails with the newest typer."""
    queuer = PgQueuer(AsyncpgDriver(await asyncpg.connect(os.environ[PLACE])))

    @queuer.entrypoint("noop")
    async def noop(job: Job) -> None:
        assert job.payload is not None
        msgspec.msgpack.decode(job.payload)
        report()

    await queuer.run(batch_size=256)


@contextlib.asynccontextmanager
async def putting(*, threads: int, runs: bool) -> AsyncIterator[Put]:  # noqa: ARG001 — it awaits
    async with asyncpg.create_pool(os.environ[PLACE], min_size=4, max_size=16) as pool:
        queries = Queries(AsyncpgPoolDriver(pool))
        await queries.install()
        _open.append(queries)
        yield lambda payload: queries.enqueue("noop", _encode(payload))


async def put_all(payloads: list[dict[str, Any]]) -> None:
    count = len(payloads)
    await _open[0].enqueue(["noop"] * count, [_encode(one) for one in payloads], [0] * count)


async def stored() -> int:
    return sum(row.count for row in await _open[0].queue_size())


if __name__ == "__main__":
    uvloop.run(work())
