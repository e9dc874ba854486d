"""How every queue is driven: the same payload, the same callers, the same clock."""

from __future__ import annotations

import asyncio
import random
import time
from collections.abc import Awaitable, Callable, Iterable
from typing import Any

from outhaul_bench.measure import LagTicker, Usage, percentile

Put = Callable[[dict[str, Any]], Awaitable[Any]]

# About 300 bytes as MessagePack: what a job usually carries.
PAYLOAD: dict[str, Any] = {
    "user_id": 48_213_377,
    "kind": "thumbnail",
    "path": "/srv/photos/2026/11/22/IMG_20261122_184512.jpg",
    "sizes": [64, 128, 256, 512, 1024],
    "note": "as good as any other text of this length " * 4,
}


async def _spread(calls: Iterable[Awaitable[Any]]) -> None:
    """Starts callers a few at a time: a burst of our own is no lag of theirs."""
    begun = []
    for call in calls:
        begun.append(asyncio.ensure_future(call))
        if len(begun) % 16 == 0:
            await asyncio.sleep(0)
    await asyncio.gather(*begun)


async def enqueue_for(put: Put, awaiters: int, seconds: float) -> dict[str, Any]:
    """Callers that each await one put after the other, for so long."""
    await _spread(put(PAYLOAD) for _ in range(awaiters))  # connections, caches
    count = 0

    async def call() -> None:
        nonlocal count
        while time.perf_counter() < until:
            await put(PAYLOAD)
            count += 1

    async with LagTicker() as lag:
        with Usage() as usage:
            until = time.perf_counter() + seconds
            await _spread(call() for _ in range(awaiters))
    rate = count / usage.wall_s
    figures = {"jobs_s": rate, "count": count, "cpu_us": usage.cpu_s / max(count, 1) * 1e6}
    return {**figures, **usage.report(), **lag.report()}


async def finish(
    put: Put, all_done: Callable[[], Awaitable[Any]], awaiters: int, count: int
) -> dict[str, Any]:
    """From the first put to the moment when the last job is known, on disk, to be done."""
    numbers = iter(range(count))

    async def call() -> None:
        for _ in numbers:
            await put(PAYLOAD)

    async with LagTicker() as lag:
        with Usage() as usage:
            await _spread(call() for _ in range(awaiters))
            await all_done()
    figures = {"jobs_s": count / usage.wall_s, "cpu_us": usage.cpu_s / count * 1e6}
    return {**figures, **usage.report(), **lag.report()}


async def dispatch(put_and_start: Callable[[], Awaitable[float]], count: int) -> dict[str, Any]:
    """Single jobs on an idle system. `put_and_start` returns `time.monotonic()` at the job's start.

    The pauses are random, so that no poll interval can be in step with them.
    """
    pauses = random.Random(7)
    late_ms = []
    async with LagTicker() as lag:
        for _ in range(count):
            await asyncio.sleep(0.01 + 0.03 * pauses.random())
            before = time.monotonic()
            late_ms.append((await put_and_start() - before) * 1000)
    quantiles = {"p50_ms": percentile(late_ms, 50), "p99_ms": percentile(late_ms, 99)}
    return {**quantiles, **lag.report()}


async def enqueue_all(
    put_all: Callable[[list[dict[str, Any]]], Awaitable[Any]], batches: int, each: int
) -> dict[str, Any]:
    """One batch after the other, each stored by one call."""
    await put_all([PAYLOAD])  # connections, caches
    async with LagTicker() as lag:
        with Usage() as usage:
            for _ in range(batches):
                await put_all([PAYLOAD] * each)
    count = batches * each
    figures = {"jobs_s": count / usage.wall_s, "cpu_us": usage.cpu_s / count * 1e6}
    return {**figures, **usage.report(), **lag.report()}
