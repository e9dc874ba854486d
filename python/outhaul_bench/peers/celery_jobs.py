"""Celery on Redis, no results, its own worker, tuned for short jobs as its documentation says."""

from __future__ import annotations

import os
from contextlib import AbstractAsyncContextManager
from typing import Any

from celery import Celery
from redis import Redis

from outhaul_bench.drive import Put
from outhaul_bench.peers.elsewhere import in_threads
from outhaul_bench.peers.reports import report
from outhaul_bench.peers.servers import PLACE

WORKER = (
    *("celery", "--app", __name__, "worker", "--pool", "prefork", "--concurrency", "2"),
    *("--without-gossip", "--without-mingle", "--without-heartbeat", "--loglevel", "ERROR"),
)

app = Celery("bench", broker=os.environ[PLACE])
app.conf.update(task_ignore_result=True, worker_prefetch_multiplier=128)


@app.task(name="noop")
def noop(payload: dict[str, Any]) -> None:  # noqa: ARG001 — it does nothing
    report()


def putting(*, threads: int, runs: bool) -> AbstractAsyncContextManager[Put]:  # noqa: ARG001 — see WORKER
    return in_threads(threads, noop.delay)


async def stored() -> int:
    with Redis.from_url(os.environ[PLACE]) as redis:
        return int(redis.llen("celery"))
