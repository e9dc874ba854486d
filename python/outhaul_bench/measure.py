"""What a child process measures about itself: the clock, the CPU, the memory, the loop's lag."""

from __future__ import annotations

import asyncio
import contextlib
import math
import resource
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any, Self

import uvloop

if TYPE_CHECKING:
    from collections.abc import Coroutine, Sequence

TICK_S = 0.005
MIB = 1024 * 1024
GIB = 1024 * MIB


def run(work: Coroutine[Any, Any, dict[str, Any]]) -> dict[str, Any]:
    """Every asyncio contender runs on uvloop."""
    return uvloop.run(work)


def percentile(values: list[float], percent: float) -> float:
    """The nearest-rank percentile; 0 of nothing."""
    if not values:
        return 0.0
    ordered = sorted(values)
    return ordered[max(0, math.ceil(len(ordered) * percent / 100) - 1)]


class LagTicker:
    """Wakes every 5 ms and notes how late it was: what every other user of the loop feels."""

    def __init__(self) -> None:
        self.late_ms: list[float] = []
        self._task: asyncio.Task[None] | None = None

    async def __aenter__(self) -> Self:
        self._task = asyncio.create_task(self._tick())
        await asyncio.sleep(0)
        return self

    async def __aexit__(self, *_: object) -> None:
        assert self._task is not None
        self._task.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await self._task

    async def _tick(self) -> None:
        before = time.perf_counter()
        try:
            while True:
                await asyncio.sleep(TICK_S)
                now = time.perf_counter()
                self.late_ms.append(max(0.0, now - before - TICK_S) * 1000)
                before = now
        finally:  # a loop that was blocked until the end has one last, late tick
            self.late_ms.append(max(0.0, time.perf_counter() - before - TICK_S) * 1000)

    def report(self) -> dict[str, Any]:
        """Its own percentiles, and every tick, so that the rounds can be pooled."""
        return {
            "late_ms": [round(late, 2) for late in self.late_ms],
            "lag_p99_ms": round(percentile(self.late_ms, 99), 3),
            "lag_max_ms": round(max(self.late_ms, default=0.0), 3),
        }


class Usage:
    """Wall clock, CPU and memory of this process (or of its children) inside a `with` block."""

    def __init__(self, *, children: bool = False) -> None:
        self._who = resource.RUSAGE_CHILDREN if children else resource.RUSAGE_SELF
        self.wall_s = self.cpu_s = self.rss_growth_mib = 0.0

    def __enter__(self) -> Self:
        self._rss = rss_mib()
        _forget_peak()
        self._cpu = self._cpu_now()
        self._began = time.perf_counter()
        return self

    def __exit__(self, *_: object) -> None:
        self.wall_s = time.perf_counter() - self._began
        self.cpu_s = self._cpu_now() - self._cpu
        self.rss_growth_mib = rss_mib("VmHWM") - self._rss

    def _cpu_now(self) -> float:
        used = resource.getrusage(self._who)
        return used.ru_utime + used.ru_stime

    def report(self) -> dict[str, float]:
        return {
            "wall_s": round(self.wall_s, 4),
            "cpu_s": round(self.cpu_s, 4),
            "rss_growth_mib": round(self.rss_growth_mib, 2),
        }

    def sent(self, paths: Sequence[Path]) -> dict[str, float]:
        """How fast those files went, and what a GiB of them would have cost."""
        size = sum(path.stat().st_size for path in paths)
        return {
            "files_s": len(paths) / self.wall_s,
            "mb_s": size / self.wall_s / 1e6,
            "cpu_s_gib": round(self.cpu_s / size * GIB, 4),
            **self.report(),
        }


def rss_mib(member: str = "VmRSS") -> float:
    """Resident memory now, or its peak (`VmHWM`), from the kernel."""
    with contextlib.suppress(OSError):
        for line in Path("/proc/self/status").read_text(encoding="ascii").splitlines():
            if line.startswith(member + ":"):
                return int(line.split()[1]) / 1024
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024


def paths_in(folder: str) -> list[Path]:
    """The files to upload, in order."""
    return sorted(Path(folder).iterdir())


def first_file(folder: str) -> Path:
    """One byte, uploaded before the clock starts: modules, pools and a connection are there."""
    path = Path(folder, "first.bin")
    path.write_bytes(b"1")
    return path


def _forget_peak() -> None:
    """The peak starts again from here; without /proc it stays that of the whole process."""
    with contextlib.suppress(OSError):
        Path("/proc/self/clear_refs").write_text("5", encoding="ascii")
