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

from outhaul import NativeWorker, PythonWorker, RetryPolicy, WorkManager

# Never the last one, and at once: what ends these tasks is a success.
STUBBORN = RetryPolicy(max_retries=1000, initial_delay=0.02, multiplier=1.0, max_delay=0.02)


class Plan(msgspec.Struct, frozen=True):
    """What to upload, and how.

    Attributes:
        known: Files whose task has been acknowledged before.
        ballast_bytes: Enqueue callbacks with an input of so many bytes instead: the WAL grows.
        then: When everything is enqueued: wait for all ends and close, close at once, or hang.
        callers: Enqueues under way at once.
    """

    store: str
    files: str
    url: str
    known: list[str] = []
    durability: Literal["fsync", "os"] = "fsync"
    loop: Literal["asyncio", "uvloop"] = "asyncio"
    run: bool = True
    ballast_bytes: int = 0
    then: Literal["follow", "close", "hang"] = "follow"
    callers: int = 32

    @property
    def names(self) -> list[str]:
        return sorted(path.name for path in Path(self.files).iterdir())


def tell(*facts: object) -> None:
    """One write, so that a line arrives whole or not at all."""
    os.write(1, (" ".join(map(str, facts)) + "\n").encode())


def work(plan: Plan, name: str) -> NativeWorker | PythonWorker:
    if plan.ballast_bytes:
        return PythonWorker("elsewhere", os.urandom(plan.ballast_bytes))
    return NativeWorker.http_upload(url=plan.url, file_path=Path(plan.files, name))


async def enqueue(manager: WorkManager, plan: Plan, name: str) -> None:
    # A process may have died between the commit and the `ack`: then the task is there.
    if await manager.get_task(name) is None:
        await manager.enqueue(name, work(plan, name), retry=STUBBORN)
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
    async with WorkManager(
        plan.store, durability=plan.durability, run=plan.run, workers="elsewhere"
    ) as manager:
        tell("ready")
        watcher = asyncio.create_task(tell_progress(manager))
        known = set(plan.known)
        missing = iter([name for name in plan.names if name not in known])

        async def caller() -> None:
            for name in missing:
                await enqueue(manager, plan, name)

        await asyncio.gather(*(caller() for _ in range(plan.callers)))
        if plan.then == "follow":
            await asyncio.gather(*(wait_for(manager, name) for name in plan.names))
        tell("idle")
        if plan.then == "hang":
            await asyncio.get_running_loop().create_future()  # until it is killed
        watcher.cancel()


if __name__ == "__main__":
    plan = msgspec.json.decode(sys.argv[1], type=Plan)
    factory = uvloop.new_event_loop if plan.loop == "uvloop" else asyncio.new_event_loop
    with asyncio.Runner(loop_factory=factory) as runner:
        runner.run(upload(plan))
