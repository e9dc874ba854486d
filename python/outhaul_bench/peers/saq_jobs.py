"""saq on a Redis that fsyncs before it answers: how fast it takes jobs in.

Its worker is not measured: started as its documentation says it sweeps our first job as stuck.
"""

from __future__ import annotations

from typing import Any

from saq import Queue

from outhaul_bench import drive
from outhaul_bench.peers import redis_server


async def enqueue(folder: str, awaiters: int, seconds: float) -> dict[str, Any]:
    with redis_server.running(folder) as port:
        queue = Queue.from_url(f"redis://127.0.0.1:{port}")
        await queue.connect()
        figures = await drive.enqueue_for(
            lambda payload: queue.enqueue("noop", payload=payload), awaiters, seconds
        )
        assert await queue.count("queued") >= figures["count"]
        await queue.disconnect()
        return figures
