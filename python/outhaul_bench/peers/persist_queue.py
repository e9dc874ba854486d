"""persist-queue's SQLite queue with acknowledgements, and `synchronous=FULL`.

It has no workers: only what enqueueing costs can be compared.
"""

from __future__ import annotations

import asyncio
from concurrent.futures import ThreadPoolExecutor
from typing import Any

from persistqueue import SQLiteAckQueue

from outhaul_bench import drive


async def enqueue(folder: str, awaiters: int, seconds: float) -> dict[str, Any]:
    loop = asyncio.get_running_loop()
    queue = SQLiteAckQueue(folder, multithreading=True, auto_commit=True)
    queue._putter.execute("pragma synchronous=full")
    with ThreadPoolExecutor(1) as pool:
        figures = await drive.enqueue_for(
            lambda payload: loop.run_in_executor(pool, queue.put, payload), awaiters, seconds
        )
    assert queue.size >= figures["count"]
    return figures
