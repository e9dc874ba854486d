"""dramatiq on Redis, its own workers: eight threads of a process."""

from __future__ import annotations

import os
from contextlib import AbstractAsyncContextManager
from typing import Any

import dramatiq
from dramatiq.brokers.redis import RedisBroker

from outhaul_bench.drive import Put
from outhaul_bench.peers.elsewhere import in_threads
from outhaul_bench.peers.reports import report
from outhaul_bench.peers.servers import PLACE

WORKER = ("dramatiq", __name__, "--threads", "8")

# Of the worker, which is started with them: at its defaults it fetches 16 jobs at a time, and naps
# for up to a second once there was none.
os.environ |= {"dramatiq_queue_prefetch": "256", "dramatiq_worker_timeout": "5"}

broker = RedisBroker(url=os.environ[PLACE])
dramatiq.set_broker(broker)


@dramatiq.actor
def noop(payload: dict[str, Any]) -> None:  # noqa: ARG001 — it does nothing
    report()


def putting(*, threads: int, runs: bool) -> AbstractAsyncContextManager[Put]:  # noqa: ARG001 — see WORKER
    return in_threads(threads, noop.send)


async def stored() -> int:
    return int(broker.client.hlen("dramatiq:default.msgs"))
