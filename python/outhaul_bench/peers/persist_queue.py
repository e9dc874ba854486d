"""persist-queue's SQLite queue with acknowledgements, and `synchronous=FULL`.

It has no workers: only what enqueueing costs can be compared.
"""

from __future__ import annotations

import os
from contextlib import AbstractAsyncContextManager

from persistqueue import SQLiteAckQueue

from outhaul_bench.drive import Put
from outhaul_bench.peers.elsewhere import in_threads
from outhaul_bench.peers.servers import PLACE

WORKER = ()

queue = SQLiteAckQueue(os.environ[PLACE], multithreading=True, auto_commit=True)
queue._putter.execute("pragma synchronous=full")


def putting(*, threads: int, runs: bool) -> AbstractAsyncContextManager[Put]:  # noqa: ARG001 — nothing runs
    return in_threads(threads, queue.put)


async def stored() -> int:
    return int(queue.size)
