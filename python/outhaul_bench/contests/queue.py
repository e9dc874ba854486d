"""Durable jobs: how fast they are taken in, how fast they are done, how soon one starts."""

from __future__ import annotations

import time
from datetime import timedelta
from pathlib import Path
from typing import Any

from outhaul_bench import drive
from outhaul_bench.contest import Column, Contender, Contest, Goal, loop_goals

_LAG = (Column("lag_p99_ms", "lag p99 ms", 1), Column("lag_max_ms", "lag max ms", 1))
_RATE = (Column("jobs_s", "jobs/s"), Column("cpu_us", "CPU µs/job"), *_LAG)
_HUEY, _ARQ, _PURE = ("huey",), ("arq", "$redis-server"), ("msgspec",)
_SAQ, _DRAMATIQ = ("saq", "$redis-server"), ("dramatiq", "$redis-server")


def contests(*, tiny: bool = False) -> list[Contest]:
    seconds = 0.2 if tiny else 2.0
    few = _enqueue(64, seconds, ratio=12, of_pure=1.4)
    many = _enqueue(512, seconds, ratio=25, of_pure=2)
    rest = [_finish(tiny=tiny), _dispatch(3 if tiny else 100)]
    return [few, *rest] if tiny else [few, many, *rest]


def _enqueue(awaiters: int, seconds: float, *, ratio: float, of_pure: float) -> Contest:
    shared = {"awaiters": awaiters, "seconds": seconds}
    pool = {**shared, "threads": awaiters}
    peers = "outhaul_bench.peers."
    return Contest(
        name=f"enqueue-{awaiters}",
        title=f"Durable enqueue, {awaiters} concurrent awaiters",
        contenders=(
            Contender("outhaul", f"{__name__}:enqueue", shared),
            Contender("pure Python", f"{peers}group_commit_runs:enqueue", shared, _PURE),
            Contender("huey, 1 thread", f"{peers}huey_jobs:enqueue", {**pool, "threads": 1}, _HUEY),
            Contender(f"huey, {awaiters} threads", f"{peers}huey_jobs:enqueue", pool, _HUEY),
            Contender("arq", f"{peers}arq_jobs:enqueue", shared, _ARQ),
            Contender("saq", f"{peers}saq_jobs:enqueue", shared, _SAQ, is_quick=False),
            Contender(
                "dramatiq, 8 threads",
                f"{peers}dramatiq_jobs:enqueue",
                {**shared, "threads": 8},
                _DRAMATIQ,
                is_quick=False,
            ),
            Contender(
                "persist-queue, 1 thread",
                f"{peers}persist_queue:enqueue",
                shared,
                ("persistqueue",),
                is_quick=False,
            ),
        ),
        columns=_RATE,
        goals=(
            Goal(
                "jobs/s / best library",
                "jobs_s",
                ratio,
                peers=(
                    "huey, 1 thread",
                    f"huey, {awaiters} threads",
                    "arq",
                    "saq",
                    "dramatiq, 8 threads",
                    "persist-queue, 1 thread",
                ),
            ),
            Goal("jobs/s / pure Python", "jobs_s", of_pure, peers=("pure Python",)),
            *loop_goals(),
        ),
    )


def _finish(*, tiny: bool) -> Contest:
    many = {"awaiters": 256, "count": 500 if tiny else 20_000}
    few = {"awaiters": 256, "count": 50 if tiny else 1000}
    peers = "outhaul_bench.peers."
    return Contest(
        name="noop",
        title="No-op Python jobs, from the first enqueue to the last durable completion",
        contenders=(
            Contender("outhaul", f"{__name__}:finish", many),
            Contender("pure Python", f"{peers}group_commit_runs:finish", many, _PURE),
            Contender("huey", f"{peers}huey_jobs:finish", few, _HUEY),
            Contender("arq", f"{peers}arq_jobs:finish", few, _ARQ),
            Contender("dramatiq", f"{peers}dramatiq_jobs:finish", few, _DRAMATIQ, is_quick=False),
        ),
        columns=_RATE,
        goals=(
            Goal("jobs/s / huey", "jobs_s", 15, peers=("huey",)),
            Goal("jobs/s / dramatiq", "jobs_s", 12, peers=("dramatiq",)),
            *loop_goals(),
        ),
    )


def _dispatch(count: int) -> Contest:
    shared = {"count": count}
    peers = "outhaul_bench.peers."
    return Contest(
        name="dispatch",
        title="Idle: from enqueue to the start of the callback",
        contenders=(
            Contender("outhaul", f"{__name__}:dispatch", shared),
            Contender("pure Python", f"{peers}group_commit_runs:dispatch", shared, _PURE),
            Contender("huey, 1 ms poll", f"{peers}huey_jobs:dispatch", shared, _HUEY),
            Contender("arq, 1 ms poll", f"{peers}arq_jobs:dispatch", shared, _ARQ),
        ),
        columns=(Column("p50_ms", "p50 ms", 2), Column("p99_ms", "p99 ms", 2), *_LAG),
        goals=(Goal("p50, ms", "p50_ms", 1.0, at_least=False), *loop_goals()),
        rounds=3,
    )


async def noop(payload: Any, context: Any) -> None:
    """The callback that does nothing."""


async def enqueue(folder: str, awaiters: int, seconds: float) -> dict[str, Any]:
    """Into a manager that runs: the tasks are due in an hour, so all of them stay pending."""
    from outhaul import PythonWorker, TaskTrigger, WorkManager  # noqa: PLC0415 — in the child only

    later = TaskTrigger.one_time(timedelta(hours=1))
    async with WorkManager(Path(folder, "work.db"), workers={"noop": noop}) as manager:
        figures = await drive.enqueue_for(
            lambda payload: manager.enqueue(None, PythonWorker("noop", payload), trigger=later),
            awaiters,
            seconds,
        )
        assert (await manager.stats()).pending == figures["count"] + awaiters
    return figures


async def finish(folder: str, awaiters: int, count: int) -> dict[str, Any]:
    from outhaul import PythonWorker, WorkManager  # noqa: PLC0415 — in the child only

    store = Path(folder, "work.db")
    async with WorkManager(store, workers={"noop": noop}, max_concurrent=256) as manager:
        figures = await drive.finish(
            lambda payload: manager.enqueue(None, PythonWorker("noop", payload)),
            manager.wait_idle,
            awaiters,
            count,
        )
        assert (await manager.stats()).completed == count
    return figures


async def dispatch(folder: str, count: int) -> dict[str, Any]:
    from outhaul import PythonWorker, WorkManager  # noqa: PLC0415 — in the child only

    started = 0.0

    async def note(payload: Any, context: Any) -> None:  # noqa: ARG001 — a callback's two
        nonlocal started
        started = time.monotonic()

    async with WorkManager(Path(folder, "work.db"), workers={"note": note}) as manager:

        async def put_and_start() -> float:
            task = await manager.enqueue(None, PythonWorker("note", drive.PAYLOAD))
            await task.result()
            return started

        return await drive.dispatch(put_and_start, count)
