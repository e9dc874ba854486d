"""Questions to the store, and the typed answers."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

import msgspec

from outhaul.arguments import boolean, choice, integer, optional_text, several
from outhaul.model import (
    KEY_MAX,
    PAGE,
    SEQ_MAX,
    Stats,
    TaskEvent,
    TaskProgress,
    TaskRecord,
    TaskStatus,
)

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Iterable

    from outhaul.bridge import Bridge


class _Progress(msgspec.Struct, frozen=True):
    version: int
    updates: list[TaskProgress]


_RECORD: Final = msgspec.msgpack.Decoder(TaskRecord | None)
_RECORDS: Final = msgspec.msgpack.Decoder(list[TaskRecord])
_EVENTS: Final = msgspec.msgpack.Decoder(tuple[list[TaskEvent], int])
_PROGRESS: Final = msgspec.msgpack.Decoder(_Progress)
_TAGS: Final = msgspec.msgpack.Decoder(list[str])
_STATS: Final = msgspec.msgpack.Decoder(Stats)
_NUMBER: Final = msgspec.msgpack.Decoder(int)


class Queries:
    """Asks the core's reading threads. No question waits for a commit.

    Attributes:
        bridge: To the core.
        store: The path of its store.
    """

    def __init__(self, bridge: Bridge, store: str) -> None:
        self.bridge = bridge
        self.store = store

    async def task(
        self, *, key: int | None = None, task_id: str | None = None
    ) -> TaskRecord | None:
        """One task: by its key, or the newest with that id."""
        answer = await self.bridge.call(self.bridge.core.ask_task, key=key, task_id=task_id)
        record: TaskRecord | None = _RECORD.decode(answer)
        return record

    async def page(
        self,
        *,
        statuses: Iterable[TaskStatus],
        tag: str | None,
        prefix: str | None,
        after: int,
        limit: int,
    ) -> list[TaskRecord]:
        """The first tasks that match with a key above `after`. No status means any."""
        answer = await self.bridge.wait(
            self.bridge.core.ask_tasks,
            statuses=[
                choice("statuses", status, TaskStatus).value
                for status in several("statuses", statuses, "statuses")
            ],
            tag=optional_text("tag", tag),
            prefix=optional_text("prefix", prefix),
            after=integer("after", after, least=0, most=KEY_MAX),
            limit=integer("limit", limit, least=1, most=PAGE),
        )
        return _RECORDS.decode(answer)

    async def tasks(
        self, *, statuses: Iterable[TaskStatus] = (), tag: str | None = None
    ) -> list[TaskRecord]:
        """All tasks that match, oldest first. No status means any."""
        wanted = tuple(several("statuses", statuses, "statuses"))
        found: list[TaskRecord] = []
        after = 0
        while True:
            page = await self.page(statuses=wanted, tag=tag, prefix=None, after=after, limit=PAGE)
            found += page
            if len(page) < PAGE:
                return found
            after = page[-1].key

    async def tags(self) -> list[str]:
        """Every tag of a stored task, sorted."""
        return _TAGS.decode(await self.bridge.wait(self.bridge.core.ask_tags))

    async def stats(self) -> Stats:
        """How many tasks stand where."""
        return _STATS.decode(await self.bridge.wait(self.bridge.core.ask_counts))

    async def events(
        self,
        *,
        after: int | None,
        key: int | None = None,
        task_id: str | None = None,
        tag: str | None = None,
        prefix: str | None = None,
        skip_pruned: bool = False,
        follow: bool,
    ) -> AsyncIterator[TaskEvent]:
        """The log from a cursor on (`None` is from now on); with `follow` it never ends.

        Raises:
            InvalidArgumentError: `after` is no number of an event.
            InvalidTypeError: A wrong type.
        """
        wanted = {
            "key": key,
            "task_id": optional_text("task_id", task_id),
            "tag": optional_text("tag", tag),
            "prefix": optional_text("prefix", prefix),
        }
        if after is None:
            after = _NUMBER.decode(await self.bridge.call(self.bridge.core.ask_last_event))
        after = integer("after", after, least=0, most=SEQ_MAX)
        skip_pruned, follow = boolean("skip_pruned", skip_pruned), boolean("follow", follow)
        # "From the beginning" means from the first event that is left, so no page misses any.
        skip_pruned = skip_pruned or after == 0
        while True:
            answer = await self.bridge.wait(
                self.bridge.core.ask_events,
                after=after,
                skip_pruned=skip_pruned,
                limit=PAGE,
                follow=follow,
                **wanted,
            )
            events, seen = _EVENTS.decode(answer)
            for event in events:
                yield event
            if not events and (not follow or key is not None):
                return  # the end of the log, or of the task's part of it
            after = seen

    async def progress(
        self,
        version: int,
        *,
        key: int | None = None,
        task_id: str | None = None,
        tag: str | None = None,
        follow: bool = True,
    ) -> tuple[int, list[TaskProgress]]:
        """The newest progress since a version, and the version to go on from."""
        answer = await self.bridge.wait(
            self.bridge.core.ask_progress,
            after=version,
            key=key,
            task_id=optional_text("task_id", task_id),
            tag=optional_text("tag", tag),
            follow=follow,
        )
        news = _PROGRESS.decode(answer)
        return news.version, news.updates
