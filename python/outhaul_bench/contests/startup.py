"""What an import and an opened store add to a bare interpreter: time and memory."""

from __future__ import annotations

import statistics
import subprocess
import sys
from pathlib import Path
from typing import Any

from outhaul_bench.child import environment
from outhaul_bench.contest import Column, Contender, Contest, Goal
from outhaul_bench.contests import queues
from outhaul_bench.contests.queues import Queue

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
    "APScheduler": f"""{BARE}{_REPORT}
import sys
from apscheduler.jobstores.sqlalchemy import SQLAlchemyJobStore
from apscheduler.schedulers.asyncio import AsyncIOScheduler
async def main():
    store = SQLAlchemyJobStore(url="sqlite:///" + sys.argv[1])
    AsyncIOScheduler(jobstores={{"default": store}}).start()
    report()
asyncio.run(main())""",
    "DBOS": f"""{BARE}{_REPORT}
import sys
from dbos import DBOS
DBOS(config={{
    "name": "bench",
    "system_database_url": "sqlite:///" + sys.argv[1],
    "log_level": "ERROR",
    "run_admin_server": False,
}})
DBOS.launch()
report()
DBOS.destroy()""",
    "flexiq": f"""{BARE}{_REPORT}
import sys
from flexiq import Queue
queue = Queue(db_path=sys.argv[1])
report()""",
    "persist-queue": f"""{BARE}{_REPORT}
import sys
from persistqueue import SQLiteAckQueue
queue = SQLiteAckQueue(sys.argv[1])
report()""",
}
# Their jobs are on a server: only what their import costs.
IMPORTED = {
    "arq": "import arq",
    "saq": "import saq",
    "taskiq": "import taskiq_redis",
    "dramatiq": "import dramatiq.brokers.redis",
    "celery": "import celery; celery.Celery",
    "procrastinate": "import procrastinate",
    "pgqueuer": "import pgqueuer, asyncpg",
}
PROGRAMS |= {name: f"{BARE}{_REPORT}{statement}\nreport()" for name, statement in IMPORTED.items()}


def _what(queue: Queue) -> str:
    return "import only" if queue.name in IMPORTED else "existing store"


def contests(*, tiny: bool = False) -> list[Contest]:
    spawns = 0 if tiny else SPAWNS

    def contender(name: str, program: str, queue: Queue | None = None, **more: Any) -> Contender:
        return Contender(
            name,
            f"{__name__}:start",
            {"program": program, "spawns": spawns, **more},
            tuple(need for need in queue.needs if not need.startswith("$")) if queue else (),
            queue is None or queue.is_quick,
        )

    return [
        Contest(
            name="startup",
            title="From the start of the interpreter to an open store",
            contenders=(
                contender(BARE, "bare"),
                contender("outhaul", "outhaul"),
                contender("outhaul, new store", "outhaul", is_new=True),
                *(
                    contender(f"{queue.name}, {_what(queue)}", queue.name, queue)
                    for queue in queues.DURABLE
                    if queue.name in PROGRAMS
                ),
                contender("flexiq, existing store", "flexiq", queues.FLEXIQ),
            ),
            columns=(Column("ms", "ms", 1), Column("mb", "MB", 1)),
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
