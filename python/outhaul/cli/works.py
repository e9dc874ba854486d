"""What the verbs need of what does the work: a manager here, or a client of a server."""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Iterable, Sequence

    from outhaul import ScheduleResult, Stats, Task, TaskEvent, TaskProgress, TaskRecord, TaskStatus


class Held(Protocol):
    """Which task it is, and what became of its enqueue."""

    @property
    def task_id(self) -> str: ...
    @property
    def key(self) -> int: ...
    @property
    def schedule_result(self) -> ScheduleResult: ...


class Works(Protocol):
    """What the verbs ask of a `WorkManager`, and of a server's `Client`."""

    async def enqueue_all(self, tasks: Iterable[Task]) -> Sequence[Held]: ...
    async def cancel(self, task_id: str) -> bool: ...
    async def cancel_by_tag(self, tag: str) -> int: ...
    async def cancel_all(self) -> int: ...
    async def get_task(self, task_id: str) -> TaskRecord | None: ...
    async def get_tasks_by_tag(
        self, tag: str, *, statuses: Iterable[TaskStatus]
    ) -> list[TaskRecord]: ...
    async def get_tasks_by_status(self, *statuses: TaskStatus) -> list[TaskRecord]: ...
    async def stats(self) -> Stats: ...
    def events(
        self,
        *,
        after: int | None = None,
        tag: str | None = None,
        task_id: str | None = None,
        follow: bool = True,
    ) -> AsyncIterator[TaskEvent]: ...
    def progress(self) -> AsyncIterator[TaskProgress]: ...
