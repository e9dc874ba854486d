"""What a waiting task costs in memory: after a million enqueues, and after taking them up again."""

from __future__ import annotations

import asyncio
import contextlib
import gc
from datetime import timedelta
from pathlib import Path
from typing import Any

from outhaul_bench import drive
from outhaul_bench.child import measure
from outhaul_bench.contest import Column, Contender, Contest, Goal, loop_goals
from outhaul_bench.measure import MIB, LagTicker, Usage, rss_mib

# A caller's batches: small enough that describing one does not hold up the loop.
BATCH = 500


def contests(*, tiny: bool = False) -> list[Contest]:
    count = 5000 if tiny else 1_000_000
    return [
        Contest(
            name="memory",
            title=f"RAM of a pending task, {count:,} of them",
            contenders=(
                Contender("outhaul", f"{__name__}:pending", {"count": count}),
                Contender(
                    "a parked asyncio.Task",
                    f"{__name__}:parked",
                    {"count": count // 10},
                ),
            ),
            columns=(
                Column("task_bytes", "B/task"),
                Column("reopened_bytes", "B/task, reopened"),
                Column("jobs_s", "enqueued/s"),
                Column("reopen_s", "reopened in s", 1),
                Column("lag_p99_ms", "lag p99 ms", 1),
                Column("lag_max_ms", "lag max ms", 1),
            ),
            goals=(
                Goal("bytes per task", "task_bytes", 250, at_least=False),
                Goal("bytes per task, reopened", "reopened_bytes", 250, at_least=False),
                Goal("reopened, s", "reopen_s", 2, at_least=False),
                *loop_goals(),
            ),
            rounds=1,
        )
    ]


async def noop(payload: Any, context: Any) -> None:
    """Never called: nothing is due."""


async def pending(folder: str, count: int) -> dict[str, Any]:
    """Ids of the caller's own, which the live table must hold: the dearer kind."""
    from outhaul import PythonWorker, Task, TaskTrigger, WorkManager  # noqa: PLC0415 — child only

    path = Path(folder, "work.db")
    later = TaskTrigger.one_time(timedelta(hours=1))

    def batch(first: int) -> list[Task]:
        numbers = range(first, min(first + BATCH, count))
        worker = PythonWorker("noop", drive.PAYLOAD)
        return [Task(f"photo-{number:09}", worker, trigger=later) for number in numbers]

    async with WorkManager(path, workers={"noop": noop}) as manager:
        await manager.enqueue("warm", PythonWorker("noop", drive.PAYLOAD), trigger=later)
        gc.collect()
        before = rss_mib()
        async with LagTicker() as lag:
            with Usage() as usage:
                for first in range(0, count, BATCH):
                    await manager.enqueue_all(batch(first))
        gc.collect()
        grown = rss_mib() - before
        assert (await manager.stats()).pending == count + 1
    reopened = await asyncio.to_thread(
        measure, f"{__name__}:reopen", {"path": str(path), "count": count}
    )
    return {
        "task_bytes": grown * MIB / count,
        "jobs_s": count / usage.wall_s,
        **reopened,
        **lag.report(),
    }


async def reopen(path: str, count: int) -> dict[str, Any]:
    from outhaul import WorkManager  # noqa: PLC0415 — in the child only

    # An empty store first, so that what every manager costs is not counted.
    async with WorkManager(path + ".empty", workers={"noop": noop}):
        pass
    before = rss_mib()
    with Usage() as usage:
        manager = await WorkManager(path, workers={"noop": noop}).__aenter__()
    grown = rss_mib() - before
    assert (await manager.stats()).pending == count + 1
    await manager.close()
    return {"reopened_bytes": grown * MIB / count, "reopen_s": usage.wall_s}


async def parked(folder: str, count: int) -> dict[str, Any]:  # noqa: ARG001 — it stores nothing
    """What a service without a queue does: a coroutine per job that sleeps until it is due."""

    async def job(payload: dict[str, Any]) -> None:
        await asyncio.sleep(3600)
        await noop(payload, None)

    before = rss_mib()
    tasks = [asyncio.create_task(job(dict(drive.PAYLOAD))) for _ in range(count)]
    await asyncio.sleep(0)
    grown = rss_mib() - before
    for task in tasks:
        task.cancel()
    with contextlib.suppress(asyncio.CancelledError):
        await asyncio.gather(*tasks)
    return {"task_bytes": grown * MIB / count}
