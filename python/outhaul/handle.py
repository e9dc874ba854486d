"""What an enqueue gives back: a hold on one stored task."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Final

import msgspec

from outhaul.errors import TaskNotFoundError
from outhaul.model import ScheduleResult, TaskEvent, TaskProgress
from outhaul.queries import Queries

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Iterator

    from outhaul.model import TaskStatus

_EVENT: Final = msgspec.msgpack.Decoder(TaskEvent)
_NUMBER: Final = msgspec.msgpack.Decoder(int)
_PAGES: Final = msgspec.msgpack.Decoder(list[bytes])
ACCEPTED: Final = ScheduleResult.ACCEPTED
KEPT: Final = ScheduleResult.KEPT
_PAGE: Final = msgspec.msgpack.Decoder(list[tuple[int, bool, str]])


class TaskHandle(msgspec.Struct, frozen=True, eq=False, gc=False):
    """A hold on one stored task, also when another task gets its id.

    Attributes:
        task_id: The caller's id, or the generated one.
        key: The internal id: ascending, never reused.
        schedule_result: What became of the enqueue.
    """

    task_id: str
    key: int
    schedule_result: ScheduleResult
    _queries: Queries

    def __repr__(self) -> str:
        return f"<TaskHandle {self.task_id} {self.schedule_result.value}>"

    def __eq__(self, other: object) -> bool:
        if isinstance(other, (ScheduleResult, str)):
            raise TypeError(
                "a TaskHandle is not a ScheduleResult: compare handle.schedule_result instead"
            )
        return (
            isinstance(other, TaskHandle)
            and self.key == other.key
            and self._queries.store == other._queries.store  # two stores may have the same keys
        )

    def __ne__(self, other: object) -> bool:  # else that of `msgspec.Struct`, by identity
        return not self == other

    def __hash__(self) -> int:
        return hash(self.key)

    async def status(self) -> TaskStatus:
        """Where the task stands.

        Raises:
            TaskNotFoundError: It ended so long ago that retention has removed it.
        """
        record = await self._queries.task(key=self.key)
        if record is None:
            raise TaskNotFoundError(f"{self.task_id} ended long ago and has been removed")
        return record.status

    async def cancel(self) -> bool:
        """Ends the task for good; a running transfer stops within a second.

        Returns:
            Whether it was still live.
        """
        bridge = self._queries.bridge
        return _NUMBER.decode(await bridge.call(bridge.core.cancel, key=self.key)) == 1

    async def result(self) -> TaskEvent:
        """Waits until the task has ended: the event that says how. Also after a restart.

        Raises:
            TaskNotFoundError: It ended so long ago that retention has removed it.
        """
        bridge = self._queries.bridge
        return _EVENT.decode(await bridge.wait(bridge.core.ask_terminal_event, self.key))

    async def events(self, after: int = 0) -> AsyncIterator[TaskEvent]:
        """What happened to the task, in order, from its enqueue (or after a cursor) to its end.

        Args:
            after: The `seq` of the last event already seen.
        """
        async for event in self._queries.events(after=after, key=self.key, follow=True):
            yield event
            if event.is_terminal:
                return

    async def progress(self) -> AsyncIterator[TaskProgress]:
        """How far the transfer is, until the task has ended: only the latest, never a queue."""
        self._queries.bridge.check()
        ended = asyncio.ensure_future(self.result())
        version, news = 0, None
        try:
            while not ended.done():
                news = asyncio.ensure_future(self._queries.progress(version, key=self.key))
                await asyncio.wait({ended, news}, return_when=asyncio.FIRST_COMPLETED)
                if not news.done():
                    news.cancel()
                    break
                version, updates = news.result()
                for update in updates:
                    yield update
            _, updates = await self._queries.progress(version, key=self.key, follow=False)
            for update in updates:
                yield update
        finally:
            for question in (ended, news):
                if question is not None and not question.cancel() and not question.cancelled():
                    question.exception()  # the same for both, and raised by one


def handles(answer: bytes, queries: Queries) -> Iterator[list[TaskHandle]]:
    """The handles of several enqueued tasks, in order: a page at a time."""
    for page in _PAGES.decode(answer):
        yield [
            TaskHandle(task_id, key, ACCEPTED if accepted else KEPT, queries)
            for key, accepted, task_id in _PAGE.decode(page)
        ]
