"""The libraries that queues are compared with. Only huey and arq are in the quick run."""

from __future__ import annotations

from typing import Any, NamedTuple

from outhaul_bench.contest import Contender

_ELSEWHERE = "outhaul_bench.peers.elsewhere"


class Queue(NamedTuple):
    """A library, where it keeps its jobs, and from how many threads it is called if it blocks."""

    name: str
    server: str
    peer: str
    needs: tuple[str, ...]
    threads: int = 1
    is_quick: bool = False

    def contender(self, verb: str, arguments: dict[str, Any]) -> Contender:
        """It takes part with that function of `peers.elsewhere`."""
        own: dict[str, Any] = {"server": self.server, "peer": self.peer}
        if self.threads != 1:
            own["threads"] = self.threads
        target = f"{_ELSEWHERE}:{verb}"
        return Contender(self.name, target, {**own, **arguments}, self.needs, self.is_quick)


_REDIS, _POSTGRES = "$redis-server", "$initdb"

HUEY = Queue("huey", "directory", "huey_jobs", ("huey",), is_quick=True)
ARQ = Queue("arq", "redis", "arq_jobs", ("arq", _REDIS), is_quick=True)
SAQ = Queue("saq", "redis", "saq_jobs", ("saq", _REDIS))
TASKIQ = Queue("taskiq", "redis", "taskiq_jobs", ("taskiq_redis", _REDIS))
DRAMATIQ = Queue("dramatiq", "redis", "dramatiq_jobs", ("dramatiq", "redis", _REDIS), threads=8)
CELERY = Queue("celery", "redis", "celery_jobs", ("celery", "redis", _REDIS), threads=8)
PROCRASTINATE = Queue(
    "procrastinate", "postgres", "procrastinate_jobs", ("procrastinate", _POSTGRES)
)
PGQUEUER = Queue("pgqueuer", "postgres", "pgqueuer_jobs", ("pgqueuer", "asyncpg", _POSTGRES))
FLEXIQ_POSTGRES = Queue(
    "flexiq, PostgreSQL", "postgres", "flexiq_jobs", ("flexiq", _POSTGRES), threads=8
)
APSCHEDULER = Queue("APScheduler", "directory", "apscheduler_jobs", ("apscheduler", "sqlalchemy"))
DBOS = Queue("DBOS", "directory", "dbos_jobs", ("dbos",))
PERSIST_QUEUE = Queue("persist-queue", "directory", "persist_queue", ("persistqueue",))

# Its SQLite does not wait for the disk: beside the others, but in no goal.
FLEXIQ = Queue("flexiq, not durable", "directory", "flexiq_jobs", ("flexiq",))

RUNNING = (
    HUEY,
    ARQ,
    SAQ,
    TASKIQ,
    DRAMATIQ,
    CELERY,
    PROCRASTINATE,
    PGQUEUER,
    FLEXIQ_POSTGRES,
    APSCHEDULER,
    DBOS,
)
DURABLE = (*RUNNING, PERSIST_QUEUE)
BY_BATCH = (PROCRASTINATE, PGQUEUER, FLEXIQ_POSTGRES)
