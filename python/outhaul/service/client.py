"""The other side of the service: the verbs of a `WorkManager`, asked of a server."""

from __future__ import annotations

from contextlib import aclosing
from typing import TYPE_CHECKING, Final, Self

import msgspec

from outhaul.arguments import choice, text
from outhaul.errors import OuthaulError, TaskNotFoundError
from outhaul.model import LIVE, PAGE, Stats, TaskEvent, TaskProgress, TaskRecord, TaskStatus
from outhaul.service.connection import Connection
from outhaul.service.specs import Cancelled, Page, Scheduled, path_of
from outhaul.service.translate import bodies, counted_from

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, Iterable
    from types import TracebackType

    from outhaul.tasks import Task

_ALL: Final = [("all", "true")]
_EVENT: Final = msgspec.json.Decoder(TaskEvent)
_PROGRESS: Final = msgspec.json.Decoder(TaskProgress)


class Client:
    """Asks a server what a `WorkManager` is asked in its own process. Paths are the server's."""

    def __init__(self, url: str, *, token: str | None = None) -> None:
        """Connects to nothing yet; takes what `Connection` takes, and refuses what it refuses."""
        self._server = Connection(url, token=token)

    async def __aenter__(self) -> Self:
        await self._server.__aenter__()
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        await self._server.__aexit__(kind, error, trace)

    async def enqueue_all(self, tasks: Iterable[Task]) -> list[Scheduled]:
        """As `WorkManager.enqueue_all`, but for what it answers: `events` says how each task ends.

        What is too much for one request goes in several. Each of those is stored wholly or not at
        all. To give it all again is harmless where the tasks have ids.
        """
        scheduled: list[Scheduled] = []
        # All of them first: where JSON cannot carry one, nothing is stored.
        for first, body in list(bodies(tasks)):
            try:
                scheduled += await self._server.tell(
                    "POST", "/v1/tasks", list[Scheduled], body=body
                )
            except OuthaulError as error:
                error.argument = counted_from(first, error.argument)
                raise
        return scheduled

    async def cancel(self, task_id: str) -> bool:
        """As `WorkManager.cancel`."""
        if not text("task_id", task_id):
            return False
        try:
            await self._server.tell("DELETE", f"/v1/tasks/{path_of(task_id)}", Cancelled)
        except TaskNotFoundError:
            return False
        return True

    async def cancel_by_tag(self, tag: str) -> int:
        """As `WorkManager.cancel_by_tag`."""
        return (await self._server.tell("DELETE", "/v1/tasks", Cancelled, _tag(tag))).cancelled

    async def cancel_all(self) -> int:
        """As `WorkManager.cancel_all`."""
        return (await self._server.tell("DELETE", "/v1/tasks", Cancelled, _ALL)).cancelled

    async def get_task(self, task_id: str) -> TaskRecord | None:
        """As `WorkManager.get_task`."""
        if not text("task_id", task_id):
            return None
        try:
            return await self._server.ask(f"/v1/tasks/{path_of(task_id)}", TaskRecord)
        except TaskNotFoundError:
            return None

    async def get_tasks_by_tag(
        self, tag: str, *, statuses: Iterable[TaskStatus] = LIVE
    ) -> list[TaskRecord]:
        """As `WorkManager.get_tasks_by_tag`."""
        return await self._tasks(statuses, _tag(tag))

    async def get_tasks_by_status(self, *statuses: TaskStatus) -> list[TaskRecord]:
        """As `WorkManager.get_tasks_by_status`."""
        return await self._tasks(statuses, [])

    async def _tasks(
        self, statuses: Iterable[TaskStatus], want: list[tuple[str, str]]
    ) -> list[TaskRecord]:
        wanted = [choice("statuses", status, TaskStatus).value for status in statuses]
        want = [*want, *(("status", status) for status in wanted), ("limit", str(PAGE))]
        page = await self._server.ask("/v1/tasks", Page, want)
        found = page.tasks
        while page.next is not None:
            page = await self._server.ask("/v1/tasks", Page, [*want, ("cursor", page.next)])
            found += page.tasks
        return found

    async def stats(self) -> Stats:
        """As `WorkManager.stats`."""
        return await self._server.ask("/v1/stats", Stats)

    async def events(
        self,
        *,
        after: int | None = None,
        tag: str | None = None,
        task_id: str | None = None,
        prefix: str | None = None,
        skip_pruned: bool = False,
        follow: bool = True,
    ) -> AsyncGenerator[TaskEvent]:
        """As `WorkManager.events`. A stream that breaks goes on after the last event, in time."""
        want = _given(tag=tag, task_id=task_id, prefix=prefix, follow=None if follow else "false")
        # What is passed over from the beginning is so wherever the stream goes on, too.
        if skip_pruned or after == 0:
            want["skip_pruned"] = "true"
        if after is None:
            after = (await self.stats()).last_event
        want["after"] = str(after)
        log = self._server.stream("/v1/events", _EVENT, want, follow=follow)
        async with aclosing(log) as events:
            async for event in events:
                yield event

    async def progress(
        self, *, task_id: str | None = None, tag: str | None = None
    ) -> AsyncGenerator[TaskProgress]:
        """As `WorkManager.progress`. A stream that breaks goes on, in time."""
        want = _given(tag=tag, task_id=task_id)
        async with aclosing(self._server.stream("/v1/progress", _PROGRESS, want)) as updates:
            async for update in updates:
                yield update


def _given(**wanted: str | None) -> dict[str, str]:
    return {name: text(name, value) for name, value in wanted.items() if value is not None}


def _tag(tag: str) -> list[tuple[str, str]]:
    return [("tag", text("tag", tag))]
