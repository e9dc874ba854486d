"""What it costs to watch an upload's progress.

Throughput varies by more than what is asked for, so the goal is for what does not: how much longer
the event loop's thread worked. Were there but one core, the upload would lose that.
"""

from __future__ import annotations

import statistics
import time
from pathlib import Path
from typing import Any

from outhaul_bench.contest import Column, Contender, Contest, Goal, loop_goals
from outhaul_bench.contests.files import served
from outhaul_bench.measure import GIB, MIB, LagTicker, Usage, paths_in


def contests(*, tiny: bool = False) -> list[Contest]:
    size = 8 * MIB if tiny else GIB
    return [
        Contest(
            name="progress",
            title=f"One multipart upload of {size // MIB} MiB, its progress watched and not",
            contenders=(
                Contender("outhaul", f"{__name__}:take_turns", {"turns": 1 if tiny else 12}),
            ),
            columns=(
                Column("watched_mb_s", "MB/s watched"),
                Column("alone_mb_s", "MB/s alone"),
                Column("ratio", "watched / alone", 3),
                Column("cost_percent", "loop's thread, %", 2),
                Column("updates", "updates"),
                Column("lag_p99_ms", "lag p99 ms", 1),
            ),
            goals=(
                Goal("watching, % of the upload", "cost_percent", 1, at_least=False),
                *loop_goals(),
            ),
            setup=lambda workshop: served(workshop, size),
            rounds=5,
            is_quick=False,
        )
    ]


async def take_turns(url: str, files: str, ca_file: str, folder: str, turns: int) -> dict[str, Any]:
    """Both in one process, one after the other; two processes would differ by more."""
    from outhaul import NativeWorker, WorkManager  # noqa: PLC0415 — in the child only

    path = paths_in(files)[0]
    worker = NativeWorker.http_upload(url=url, file_path=path)
    wall_s: dict[bool, list[float]] = {True: [], False: []}
    loop_s: dict[bool, list[float]] = {True: [], False: []}
    updates = 0
    async with WorkManager(Path(folder, "work.db"), ca_file=ca_file or None) as manager:
        await (await manager.enqueue(None, worker)).result()
        async with LagTicker() as lag:
            for is_watched in (True, False) * turns:
                worked_s = time.thread_time()
                with Usage() as usage:
                    task = await manager.enqueue(None, worker)
                    if is_watched:
                        updates = len([update async for update in task.progress()])
                    event = await task.result()
                assert event.success, event
                loop_s[is_watched].append(time.thread_time() - worked_s)
                wall_s[is_watched].append(usage.wall_s)
    assert updates
    watched_s, alone_s = (statistics.median(wall_s[it]) for it in (True, False))
    more_s = statistics.median(loop_s[True]) - statistics.median(loop_s[False])
    size_mb = path.stat().st_size / 1e6
    return {
        "watched_mb_s": size_mb / watched_s,
        "alone_mb_s": size_mb / alone_s,
        "ratio": alone_s / watched_s,
        "cost_percent": more_s / alone_s * 100,
        "updates": updates,
        **lag.report(),
    }
