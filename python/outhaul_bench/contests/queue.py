"""Durable jobs: how fast they are taken in, how fast they are done, how soon one starts."""

from __future__ import annotations

import asyncio
import itertools
import time
from collections.abc import Awaitable, Iterator
from datetime import timedelta
from pathlib import Path
from typing import Any

from outhaul_bench import drive
from outhaul_bench.contest import Column, Contender, Contest, Goal, loop_goals
from outhaul_bench.contests import queues
from outhaul_bench.measure import percentile

_LAG = (Column("lag_p99_ms", "lag p99 ms", 1), Column("lag_max_ms", "lag max ms", 1))
_RATE = (Column("jobs_s", "jobs/s"), Column("cpu_us", "CPU µs/job"), *_LAG)


def contests(*, tiny: bool = False) -> list[Contest]:
    seconds = 0.2 if tiny else 2.0
    one, few, many = _enqueue(1, seconds), _enqueue(64, seconds), _enqueue(512, seconds)
    rest = [_enqueue_all(tiny=tiny), _finish(tiny=tiny), _dispatch(3 if tiny else 100)]
    return [few, *rest] if tiny else [one, few, many, *rest]


OWN_TERMS = "outhaul, own id, tag and terms"

# Of the best library, and of plain Python.
_TIMES: dict[int, tuple[float, float]] = {64: (12, 1.4), 512: (25, 2)}


def _pure(verb: str, arguments: dict[str, Any]) -> Contender:
    target = f"outhaul_bench.peers.group_commit_runs:{verb}"
    return Contender("plain Python", target, arguments, ("msgspec",))


def _enqueue(awaiters: int, seconds: float) -> Contest:
    shared = {"awaiters": awaiters, "seconds": seconds}
    durable = [*queues.DURABLE]
    if awaiters > 1:  # what `asyncio.to_thread` would give it
        durable.append(queues.HUEY._replace(name="huey, a thread each", threads=awaiters))
    goals = ()
    if awaiters in _TIMES:
        of_best, of_pure = _TIMES[awaiters]
        names = tuple(queue.name for queue in durable)
        goals = (
            Goal("jobs/s / best library", "jobs_s", of_best, peers=names),
            Goal("jobs/s / plain Python", "jobs_s", of_pure, peers=("plain Python",)),
        )
    return Contest(
        name=f"enqueue-{awaiters}",
        title=f"Durable enqueue, {awaiters} concurrent awaiter{'s' * (awaiters > 1)}",
        contenders=(
            Contender("outhaul", f"{__name__}:enqueue", shared),
            _pure("enqueue", shared),
            Contender(OWN_TERMS, f"{__name__}:enqueue", {**shared, "own_terms": True}),
            *(queue.contender("enqueue", shared) for queue in (*durable, queues.FLEXIQ)),
        ),
        columns=_RATE,
        goals=(*goals, *loop_goals()),
        rounds=5 if awaiters > 1 else 3,
        is_quick=awaiters > 1,
    )


def _enqueue_all(*, tiny: bool) -> Contest:
    shared = {"batches": 2, "each": 50} if tiny else {"batches": 20, "each": 1000}
    return Contest(
        name="enqueue-all",
        title="Durable enqueue, 1000 jobs with one call",
        contenders=(
            Contender("outhaul", f"{__name__}:enqueue_all", shared),
            _pure("enqueue_all", shared),
            *(queue.contender("enqueue_all", shared) for queue in queues.BY_BATCH),
            queues.FLEXIQ.contender("enqueue_all", shared),
        ),
        columns=_RATE,
        goals=loop_goals(),
        is_quick=False,
    )


def _finish(*, tiny: bool) -> Contest:
    many = {"awaiters": 256, "count": 500 if tiny else 20_000}
    few = {"awaiters": 256, "count": 50 if tiny else 1000}
    # The two that a goal names run for seconds, so that how they begin does not count for much.
    some = few if tiny else {"awaiters": 256, "count": 5000}
    named = (queues.HUEY, queues.DRAMATIQ)
    return Contest(
        name="noop",
        title="No-op Python jobs, from the first enqueue to the last durable completion",
        contenders=(
            Contender("outhaul", f"{__name__}:finish", many),
            _pure("finish", many),
            *(
                queue.contender("finish", some if queue in named else few)
                for queue in (*queues.RUNNING, queues.FLEXIQ)
            ),
        ),
        columns=_RATE,
        goals=(
            Goal("jobs/s / huey", "jobs_s", 15, peers=(queues.HUEY.name,)),
            Goal("jobs/s / dramatiq", "jobs_s", 12, peers=(queues.DRAMATIQ.name,)),
            *loop_goals(),
        ),
    )


def _dispatch(count: int) -> Contest:
    shared = {"count": count}
    return Contest(
        name="dispatch",
        title="Idle: from enqueue to the start of the callback",
        contenders=(
            Contender("outhaul", f"{__name__}:dispatch", shared),
            _pure("dispatch", shared),
            *(queue.contender("dispatch", shared) for queue in (*queues.RUNNING, queues.FLEXIQ)),
        ),
        columns=(
            Column("p50_ms", "p50 ms", 2),
            Column("p99_ms", "p99 ms", 2),
            Column("ack_us", "after the answer, µs"),
            *_LAG,
        ),
        goals=(
            Goal("p50, ms", "p50_ms", 1.0, at_least=False),
            Goal("from the answer to the start, µs", "ack_us", 60, at_least=False),
            *loop_goals(),
        ),
        rounds=3,
    )


async def noop(payload: Any, context: Any) -> None:
    """The callback that does nothing."""


async def enqueue(
    folder: str, awaiters: int, seconds: float, *, own_terms: bool = False
) -> dict[str, Any]:
    """Into a manager that runs: the tasks are due in an hour, so all of them stay pending.

    With `own_terms` each has an id, one of a thousand tags, and a trigger and a retry policy made
    for it. No peer is given any; without them all tasks are alike in what outhaul looks at.
    """
    from outhaul import PythonWorker, RetryPolicy, TaskTrigger, WorkManager  # noqa: PLC0415 — in the child only

    hour = timedelta(hours=1)
    later = TaskTrigger.one_time(hour)
    numbers = itertools.count()

    def plain(payload: Any) -> Awaitable[Any]:
        return manager.enqueue(None, PythonWorker("noop", payload), trigger=later)

    def own(payload: Any) -> Awaitable[Any]:
        number = next(numbers)
        return manager.enqueue(
            f"job-{number}",
            PythonWorker("noop", payload),
            trigger=TaskTrigger.one_time(hour),
            retry=RetryPolicy(max_retries=5),
            tag=f"user-{number % 1000}",
        )

    async with WorkManager(Path(folder, "work.db"), workers={"noop": noop}) as manager:
        figures = await drive.enqueue_for(own if own_terms else plain, awaiters, seconds)
        assert (await manager.stats()).pending == figures["count"] + awaiters
    return figures


async def enqueue_all(folder: str, batches: int, each: int) -> dict[str, Any]:
    """As `enqueue`: into a manager that runs, for in an hour."""
    from outhaul import PythonWorker, Task, TaskTrigger, WorkManager  # noqa: PLC0415 — in the child only

    later = TaskTrigger.one_time(timedelta(hours=1))

    def tasks(payloads: list[dict[str, Any]]) -> Iterator[Task]:
        for payload in payloads:
            yield Task(None, PythonWorker("noop", payload), trigger=later)

    async with WorkManager(Path(folder, "work.db"), workers={"noop": noop}) as manager:
        figures = await drive.enqueue_all(
            lambda payloads: manager.enqueue_all(tasks(payloads)), batches, each
        )
        assert (await manager.stats()).pending == batches * each + 1
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

    began = asyncio.Event()
    started = 0.0
    after_us = []

    async def note(payload: Any, context: Any) -> None:  # noqa: ARG001 — a callback's two
        nonlocal started
        started = time.monotonic()
        began.set()

    async with WorkManager(Path(folder, "work.db"), workers={"note": note}) as manager:

        async def put_and_start() -> float:
            began.clear()
            await manager.enqueue(None, PythonWorker("note", drive.PAYLOAD))
            answered = time.monotonic()
            await began.wait()
            after_us.append((started - answered) * 1e6)
            return started

        figures = await drive.dispatch(put_and_start, count)
    return {**figures, "ack_us": percentile(after_us, 50)}
