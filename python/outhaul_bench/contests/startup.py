"""What an import and an opened store add to a bare interpreter: time and memory."""

from __future__ import annotations

import statistics
import subprocess
import sys
from pathlib import Path

from outhaul_bench.child import environment
from outhaul_bench.contest import Column, Contender, Contest, Goal

BARE = "import asyncio"
SPAWNS = 3

_REPORT = """
def report():
    import os, time
    took_ms = (time.monotonic() - float(os.environ["BENCH_SPAWNED"])) * 1000
    with open("/proc/self/status") as file:
        kib = next(int(line.split()[1]) for line in file if line.startswith("VmRSS"))
    print(took_ms, kib * 1024 / 1e6)
"""
PROGRAMS = {
    "bare": f"{BARE}{_REPORT}report()",
    "outhaul": f"""{BARE}{_REPORT}
import sys
from outhaul import WorkManager
async def main():
    async with WorkManager(sys.argv[1]):
        report()
asyncio.run(main())""",
    "huey": f"""{BARE}{_REPORT}
import sys
from huey import SqliteHuey
huey = SqliteHuey(filename=sys.argv[1], fsync=True)
report()""",
    "arq": f"""{BARE}{_REPORT}
import arq
report()""",
}


def contests(*, tiny: bool = False) -> list[Contest]:
    spawns = 0 if tiny else SPAWNS
    bare = {"program": "bare", "spawns": spawns}
    new = {"program": "outhaul", "spawns": spawns}
    columns = (Column("ms", "ms", 1), Column("mb", "MB", 1))
    return [
        Contest(
            name="startup",
            title="From the start of the interpreter to an open store",
            contenders=(
                Contender(BARE, f"{__name__}:start", bare),
                Contender("outhaul", f"{__name__}:start", new),
                Contender(
                    "outhaul, new store",
                    f"{__name__}:start",
                    {**new, "is_new": True},
                ),
                Contender(
                    "huey, existing store",
                    f"{__name__}:start",
                    {"program": "huey", "spawns": spawns},
                    ("huey",),
                ),
                Contender(
                    "arq, import only",
                    f"{__name__}:start",
                    {"program": "arq", "spawns": spawns},
                    ("arq",),
                ),
            ),
            columns=columns,
            goals=(
                Goal("adds ms", "ms", 10, at_least=False, peers=(BARE,), is_difference=True),
                Goal("adds MB", "mb", 4, at_least=False, peers=(BARE,), is_difference=True),
            ),
            rounds=5,
        )
    ]


def start(folder: str, program: str, spawns: int, *, is_new: bool = False) -> dict[str, float]:
    """The median of some starts; the first, which fills caches, does not count."""
    seen = []
    for number in range(spawns + 1):
        store = Path(folder, f"{number if is_new else 0}.db")
        command = [sys.executable, "-c", PROGRAMS[program], str(store)]
        done = subprocess.run(
            command, cwd=folder, env=environment(), capture_output=True, text=True, check=True
        )
        seen.append([float(figure) for figure in done.stdout.split()])
    counted = seen[1:] or seen
    return {
        "ms": statistics.median(ms for ms, _ in counted),
        "mb": statistics.median(mb for _, mb in counted),
    }
