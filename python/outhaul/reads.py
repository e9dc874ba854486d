"""The questions that a manager answers: none waits for a commit."""

from __future__ import annotations

from typing import TYPE_CHECKING

from outhaul.arguments import text
from outhaul.model import LIVE
from outhaul.openable import Openable

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Iterable

    from outhaul.model import Stats, TaskEvent, TaskProgress, TaskRecord, TaskStatus


class Reads(Openable):
    """The verbs of a `WorkManager` that change nothing."""

    async def get_task(self, task_id: str) -> TaskRecord | None:
        """The newest task with that id, live or ended.

        Returns:
            `None` where there is no such task, and where retention has removed the newest one, even
            if an older one is still kept.
        """
        return await self._opened().task(task_id=text("task_id", task_id))

    async def get_task_status(self, task_id: str) -> TaskStatus | None:
        """Where the newest task with that id stands; `None` if there is none."""
        record = await self.get_task(task_id)
        return None if record is None else record.status

    async def get_tasks_by_tag(
        self, tag: str, *, statuses: Iterable[TaskStatus] = LIVE
    ) -> list[TaskRecord]:
        """The tasks with that tag, oldest first: live ones, unless other statuses are given."""
        return await self._opened().tasks(tag=text("tag", tag), statuses=statuses)

    async def get_tasks_by_status(self, *statuses: TaskStatus) -> list[TaskRecord]:
        """The tasks that stand in one of those statuses, oldest first; all without any."""
        return await self._opened().tasks(statuses=statuses)

    async def list_tasks(
        self,
        *,
        statuses: Iterable[TaskStatus] = (),
        tag: str | None = None,
        prefix: str | None = None,
        after: int = 0,
        limit: int = 100,
    ) -> list[TaskRecord]:
        """A page of tasks, oldest first. For the next one, `after` is the `key` of the last.

        Args:
            statuses: Only those that stand in one of these; any by default.
            tag: Only those with this tag.
            prefix: Only those whose id begins so.
            after: Only those with a key above this.
            limit: At most this many, 1 to 500. A page with fewer is the last one.
        """
        return await self._opened().page(
            statuses=statuses, tag=tag, prefix=prefix, after=after, limit=limit
        )

    async def all_tags(self) -> list[str]:
        """Every tag of a stored task, sorted."""
        return await self._opened().tags()

    def events(
        self,
        *,
        after: int | None = None,
        tag: str | None = None,
        task_id: str | None = None,
        prefix: str | None = None,
        skip_pruned: bool = False,
        follow: bool = True,
    ) -> AsyncIterator[TaskEvent]:
        """What happens to tasks, in order. A slow reader costs no memory: it re-reads the log.

        Args:
            after: The `seq` of the last event already seen; 0 is from the beginning, `None` is
                from now on, where now is when the iteration begins, not when this is called.
            tag: Only tasks with this tag.
            task_id: Only tasks with this id.
            prefix: Only tasks whose id begins so.
            skip_pruned: Whether events that retention has removed are passed over in silence; from
                the beginning they always are.
            follow: Whether to wait for more at the end of the log.

        Raises:
            CursorPrunedError: Retention has removed what follows `after`, or the log is shorter:
                start again at `after=0`, or pass `skip_pruned=True` for what retention removed.
        """
        return self._opened().events(
            after=after,
            tag=tag,
            task_id=task_id,
            prefix=prefix,
            skip_pruned=skip_pruned,
            follow=follow,
        )

    async def progress(
        self, *, task_id: str | None = None, tag: str | None = None
    ) -> AsyncIterator[TaskProgress]:
        """How far transfers are: the latest of each, never a queue. Does not end by itself."""
        queries = self._opened()
        version = 0
        while True:
            version, updates = await queries.progress(version, task_id=task_id, tag=tag)
            for update in updates:
                yield update

    async def stats(self) -> Stats:
        """How many tasks stand where."""
        return await self._opened().stats()
