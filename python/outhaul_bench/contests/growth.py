"""How cost grows: with the tasks that wait, with the size of a file, with the transfers at once.

Only outhaul takes part, once for each point of a curve.
"""

from __future__ import annotations

import asyncio
import gc
import time
from datetime import timedelta
from pathlib import Path
from typing import Any

from outhaul_bench import drive, sink
from outhaul_bench.contest import Column, Contender, Contest, Goal
from outhaul_bench.contests.files import served, served_files
from outhaul_bench.contests.memory import noop, reopen
from outhaul_bench.measure import MIB, Usage, paths_in, percentile, rss_mib

_EACH = 4 * MIB


def contests(*, tiny: bool = False) -> list[Contest]:
    return [
        _pending((0, 10, 100) if tiny else (0, 1000, 10_000, 100_000, 1_000_000)),
        _sizes((1, 1000) if tiny else tuple(4**power for power in range(0, 17, 2))),
        _transfers((1, 2) if tiny else (1, 4, 16, 64, 256), 4 if tiny else 256),
    ]


def _pending(counts: tuple[int, ...]) -> Contest:
    most, none = f"{counts[-1]:,}", "0"
    return Contest(
        name="grow-pending",
        title="One more task, where so many wait already",
        contenders=tuple(_point(count, f"{__name__}:pending", count=count) for count in counts),
        columns=(
            Column("enqueue_ms", "ms for one enqueue", 3),
            Column("reopen_s", "s to open", 3),
            Column("rss_mib", "MiB in all", 0),
        ),
        goals=(
            Goal(
                f"one enqueue, {most} waiting / none",
                "enqueue_ms",
                1.2,
                at_least=False,
                peers=(none,),
                of=most,
            ),
        ),
        axis="tasks waiting",
        rounds=3,
        is_quick=False,
    )


def _sizes(sizes: tuple[int, ...]) -> Contest:
    return Contest(
        name="grow-size",
        title="One upload, by the size of its file",
        contenders=tuple(
            _point(size, f"{__name__}:upload", number=number) for number, size in enumerate(sizes)
        ),
        columns=(Column("ms", "ms", 2), Column("cpu_ms", "CPU ms", 2)),
        goals=(),
        setup=lambda workshop: served_files(workshop, "files-growing", sizes, sparse=True),
        axis="bytes",
        rounds=3,
        is_quick=False,
    )


def _transfers(limits: tuple[int, ...], count: int) -> Contest:
    return Contest(
        name="grow-transfers",
        title=f"{count} uploads of {_EACH // MIB} MiB, so many at once",
        contenders=tuple(
            _point(limit, "outhaul_bench.contests.batches:upload_all", limit=limit)
            for limit in limits
        ),
        columns=(
            Column("mb_s", "MB/s"),
            Column("cpu_s", "CPU s", 2),
            Column("lag_p99_ms", "lag p99 ms", 1),
            Column("rss_growth_mib", "RSS + MiB", 1),
        ),
        goals=(),
        setup=lambda workshop: served(workshop, _EACH, count=count),
        axis="transfers at once",
        rounds=3,
        is_quick=False,
    )


def _point(at: int, target: str, **arguments: Any) -> Contender:
    return Contender(f"{at:,}", target, arguments, is_quick=False, at=at)


async def pending(folder: str, count: int) -> dict[str, Any]:
    """The median of a hundred enqueues, one after the other, beside so many that wait."""
    from outhaul import PythonWorker, Task, TaskTrigger, WorkManager  # noqa: PLC0415 — child only

    path = Path(folder, "work.db")
    later = TaskTrigger.one_time(timedelta(hours=1))
    worker = PythonWorker("noop", drive.PAYLOAD)
    took_ms = []
    async with WorkManager(path, workers={"noop": noop}) as manager:
        for first in range(0, count, 5000):
            number = min(5000, count - first)
            await manager.enqueue_all([Task(None, worker, trigger=later)] * number)
        gc.collect()
        for _ in range(100):
            await asyncio.sleep(0.002)
            began = time.perf_counter()
            await manager.enqueue(None, worker, trigger=later)
            took_ms.append((time.perf_counter() - began) * 1000)
        assert (await manager.stats()).pending == count + 100
        rss = rss_mib()
    opened = await reopen(str(path), count + 99)
    return {
        "enqueue_ms": percentile(took_ms, 50),
        "reopen_s": opened["reopen_s"],
        "rss_mib": rss,
    }


async def upload(url: str, files: str, ca_file: str, folder: str, number: int) -> dict[str, Any]:
    """From `enqueue` to the durable `completed`."""
    from outhaul import NativeWorker, WorkManager  # noqa: PLC0415 — in the child only

    path = paths_in(files)[number]
    async with WorkManager(Path(folder, "work.db"), ca_file=ca_file or None) as manager:
        worker = NativeWorker.http_upload(url=url, file_path=path)
        with sink.receiving([path], url, ca_file), Usage() as usage:
            event = await (await manager.enqueue(None, worker)).result()
        assert event.success, event
    return {"ms": usage.wall_s * 1000, "cpu_ms": usage.cpu_s * 1000}
