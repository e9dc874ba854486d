"""huey over SQLite as its documentation advises: WAL (its default), `fsync=True`, its consumer.

The consumer has four threads, the fastest of 1, 2, 4 and 8, and a poll of 1 ms.
"""

from __future__ import annotations

import os
from contextlib import AbstractAsyncContextManager
from pathlib import Path
from typing import Any

from huey import SqliteHuey

from outhaul_bench.drive import Put
from outhaul_bench.peers.elsewhere import in_threads
from outhaul_bench.peers.reports import report
from outhaul_bench.peers.servers import PLACE

WORKER = (
    *("huey.bin.huey_consumer", f"{__name__}.huey", "--quiet"),
    *("--workers", "4", "--delay", "0.001", "--max-delay", "0.001"),
)

huey = SqliteHuey(filename=str(Path(os.environ[PLACE], "huey.db")), fsync=True)


@huey.task()
def noop(payload: dict[str, Any]) -> None:  # noqa: ARG001 — it does nothing
    report()


def putting(*, threads: int, runs: bool) -> AbstractAsyncContextManager[Put]:  # noqa: ARG001 — see WORKER
    return in_threads(threads, noop)


async def stored() -> int:
    count: int = huey.storage.queue_size()
    return count
