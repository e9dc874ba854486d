"""A hold on a task that a server has: what `Client.enqueue_all` gives."""

from __future__ import annotations

import contextlib
from contextlib import aclosing
from typing import TYPE_CHECKING, NamedTuple, Protocol

from outhaul.errors import CursorPrunedError, TaskNotFoundError

if TYPE_CHECKING:
    import asyncio
    from collections.abc import AsyncGenerator

    from outhaul.model import ScheduleResult, TaskEvent, TaskRecord


class Asked(Protocol):
    """What a hold asks of its client.

    Attributes:
        results: Whoever waits for a result holds one of these, and a connection.
        looks: Likewise who looks whether it is there already.
    """

    results: asyncio.Semaphore
    looks: asyncio.Semaphore

    async def get_task(self, task_id: str) -> TaskRecord | None:
        """The newest task with that id."""

    def log(
        self, *, after: int | None, task_id: str | None, follow: bool
    ) -> AsyncGenerator[TaskEvent]:
        """What happened to it, and says what is missing."""


class RemoteTask(NamedTuple):
    """A hold on a task that a server has."""

    client: Asked
    task_id: str
    key: int
    schedule_result: ScheduleResult

    async def result(self) -> TaskEvent:
        """Waits until the task has ended: the event that says how.

        Raises:
            TaskNotFoundError: Retention has removed it.
        """
        if self.client.results.locked():  # whoever would wait for others looks first
            async with self.client.looks:
                with contextlib.suppress(CursorPrunedError):
                    ended = await self._end(follow=False)
                    if ended is not None:
                        return ended
        async with self.client.results:
            while True:
                newest = await self.client.get_task(self.task_id)
                is_newest = newest is not None and newest.key == self.key
                # Where it is cut off for long, it is told so, and asks again.
                with contextlib.suppress(CursorPrunedError):
                    ended = await self._end(follow=is_newest)
                    if ended is not None:
                        return ended
                    raise TaskNotFoundError(f"the task {self.task_id!r} was removed")

    async def _end(self, *, follow: bool) -> TaskEvent | None:
        log = self.client.log(after=0, task_id=self.task_id, follow=follow)
        async with aclosing(log) as events:
            async for event in events:
                if event.key == self.key and event.is_terminal:
                    return event
        return None
