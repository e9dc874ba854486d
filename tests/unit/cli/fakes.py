"""A manager that follows a script, and the command line run against it."""

from __future__ import annotations

import asyncio
import signal
from typing import TYPE_CHECKING, Any, NamedTuple, Self

from typer.testing import CliRunner, Result

from outhaul import (
    ErrorCode,
    EventKind,
    ScheduleResult,
    Stats,
    Task,
    TaskEvent,
    TaskProgress,
    TaskRecord,
    TaskStatus,
    WaitingOn,
)
from outhaul.cli.app import app
from outhaul.errors import OuthaulError

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

URL = "https://api.example.com/upload"


def event(key: int, kind: EventKind = EventKind.COMPLETED, **more: Any) -> TaskEvent:  # noqa: ANN401 — whatever an event has
    return TaskEvent(seq=key, at_ms=0, kind=kind, task_id=f"t{key}", key=key, **more)


FAILED = {"error_code": ErrorCode.HTTP_SERVER_ERROR, "message": "HTTP 503 after 4 attempts"}
RECORD = TaskRecord(
    task_id="t1",
    key=1,
    status=TaskStatus.PENDING,
    worker="http_upload",
    file_path="/photos/a.jpg",
    created_at_ms=0,
    run_at_ms=0,
    tag="photos",
    waiting_on=WaitingOn.RETRY,
    message="HTTP 503",
)


Happening = TaskEvent | Exception | signal.Signals


class FakeHandle(NamedTuple):
    key: int
    task_id: str
    schedule_result: ScheduleResult = ScheduleResult.ACCEPTED


class FakeManager:
    """Answers from class attributes that a test sets, and remembers what it was asked.

    Attributes:
        log: Events, an error, or a signal that somebody sends.
        endings: What follows in the log for what is enqueued.
        troubles: What becomes of asking for progress.
        pending: What is left, each time somebody asks.
        newest: How one task stands, each time somebody asks.
        kept: Keys of tasks that were stored before.
    """

    endings: list[Happening]
    troubles: list[Exception]
    log: list[Happening]
    stats_after: list[Stats]
    pending: list[list[TaskRecord]]
    newest: list[TaskRecord]
    kept: set[int]
    refusal: OuthaulError | None
    calls: list[tuple[object, ...]]
    tasks: list[Task]

    def __init__(self, path: str, *, run: bool, allow_http: bool) -> None:
        assert not allow_http
        self.calls.append(("open", path, run))

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_: object) -> None:
        self.calls.append(("close",))

    async def enqueue_all(self, tasks: list[Task]) -> list[FakeHandle]:
        if self.refusal is not None:
            raise self.refusal
        self.tasks.extend(tasks)
        result = {True: ScheduleResult.KEPT, False: ScheduleResult.ACCEPTED}
        keys = range(1, len(tasks) + 1)
        return [FakeHandle(key, f"t{key}", result[key in self.kept]) for key in keys]

    async def progress(self) -> AsyncIterator[TaskProgress]:
        self.calls.append(("progress",))
        for trouble in self.troubles:
            raise trouble
        yield TaskProgress(
            task_id="t1", key=1, percent=50, bytes_sent=5, bytes_acknowledged=0, bytes_total=10
        )
        await asyncio.Event().wait()

    async def events(self, **asked: object) -> AsyncIterator[TaskEvent]:
        self.calls.append(("events", asked))
        for happened in [*self.log, *self.endings[: len(self.tasks)]]:
            await asyncio.sleep(0)
            if isinstance(happened, TaskEvent):
                yield happened
            elif isinstance(happened, Exception):
                raise happened
            else:
                signal.raise_signal(happened)
        if asked.get("follow", True):
            await asyncio.Event().wait()

    async def get_task(self, task_id: str) -> TaskRecord | None:
        if self.newest:
            return self.newest.pop(0)
        return RECORD if task_id == "t1" else None

    async def get_tasks_by_tag(self, tag: str, *, statuses: list[TaskStatus]) -> list[TaskRecord]:
        self.calls.append(("by_tag", tag, statuses))
        return [RECORD] if tag == "photos" else []

    async def get_tasks_by_status(self, *statuses: TaskStatus) -> list[TaskRecord]:
        self.calls.extend(("by_status", status) for status in statuses)
        if self.pending:
            return self.pending.pop(0)
        return [RECORD] if TaskStatus.PENDING in statuses else []

    async def stats(self) -> Stats:
        return self.stats_after.pop(0) if self.stats_after else Stats(completed=12, failed=1)

    async def cancel(self, task_id: str) -> bool:
        return task_id == "t1"

    async def cancel_by_tag(self, tag: str) -> int:
        return len(tag)

    async def cancel_all(self) -> int:
        return 99


def command(db: str, *words: str) -> Result:
    return CliRunner().invoke(app, ["--db", db, *words])
