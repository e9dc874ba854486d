"""The process that gets killed. It uploads a directory and tells, a line a fact, what it knows.

`python -m tests.crash.uploader '{"store": …}'`, see `Plan`. The lines: `ready`, `ack FILE` (the
enqueue has returned, or found the task stored), `percent KEY N`, `ended FILE KIND`, `idle`.
"""

from __future__ import annotations

import asyncio
import os
import sys
from pathlib import Path
from typing import Literal

import msgspec
import uvloop

from outhaul import NativeWorker, RetryPolicy, WorkManager

# Never the last one, and at once: what ends these tasks is a success.
STUBBORN = RetryPolicy(max_retries=1000, initial_delay=0.02, multiplier=1.0, max_delay=0.02)


class Plan(msgspec.Struct, frozen=True):
    """What to upload, and how.

    Attributes:
        url: Where to; without one nothing is enqueued that ever runs.
        known: Files whose task has been acknowledged before.
        follow: Whether to wait for the end of every task, and then close.
    """

    store: str
    files: str
    url: str
    known: list[str] = []
    durability: Literal["fsync", "os"] = "fsync"
    loop: Literal["asyncio", "uvloop"] = "asyncio"
    run: bool = True
    follow: bool = True
    callers: int = 32


def tell(*facts: object) -> None:
    """One write, so that a line arrives whole or not at all."""
    os.write(1, (" ".join(map(str, facts)) + "\n").encode())


async def enqueue(manager: WorkManager, plan: Plan, name: str) -> None:
    # A process may have died between the commit and the `ack`: then the task is there.
    if await manager.get_task(name) is None:
        worker = NativeWorker.http_upload(url=plan.url, file_path=Path(plan.files, name))
        await manager.enqueue(name, worker, retry=STUBBORN)
    tell("ack", name)


async def tell_progress(manager: WorkManager) -> None:
    async for update in manager.progress():
        tell("percent", update.key, update.percent)


async def wait_for(manager: WorkManager, name: str) -> None:
    handle = await manager.get_handle(name)
    if handle is None:
        tell("ended", name, "lost")
    else:
        tell("ended", name, (await handle.result()).kind.value)


async def upload(plan: Plan) -> None:
    names = sorted(path.name for path in Path(plan.files).iterdir())
    async with WorkManager(plan.store, durability=plan.durability, run=plan.run) as manager:
        tell("ready")
        watcher = asyncio.create_task(tell_progress(manager))
        missing = iter([name for name in names if name not in set(plan.known)])

        async def caller() -> None:
            for name in missing:
                await enqueue(manager, plan, name)

        await asyncio.gather(*(caller() for _ in range(plan.callers)))
        if plan.follow:
            await asyncio.gather(*(wait_for(manager, name) for name in names))
        tell("idle")
        if not plan.follow:
            await asyncio.get_running_loop().create_future()  # until it is killed
        watcher.cancel()


if __name__ == "__main__":
    plan = msgspec.json.decode(sys.argv[1], type=Plan)
    factory = uvloop.new_event_loop if plan.loop == "uvloop" else asyncio.new_event_loop
    with asyncio.Runner(loop_factory=factory) as runner:
        runner.run(upload(plan))
