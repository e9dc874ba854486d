"""`outhaul run`: does what is in the store."""

from __future__ import annotations

import asyncio
import shlex
from typing import TYPE_CHECKING, Annotated, Any, Final

import typer

from outhaul.cli import render
from outhaul.cli.session import ExitStatus, complain, counted, run
from outhaul.model import EventKind, TaskRecord, TaskStatus, WaitingOn

if TYPE_CHECKING:
    from collections.abc import Coroutine, Iterable

    from outhaul import WorkManager
    from outhaul.cli.place import Place

# How often it is asked whether anything is left. Asking is two short queries, most of the time.
POLL_S: Final = 0.2

# What a pending task waits for that passes without anybody doing anything about it.
_DUE_LATER: Final = frozenset({WaitingOn.TIME, WaitingOn.RETRY})
_PASSES: Final = _DUE_LATER | {WaitingOn.LIMIT}


def run_tasks(
    context: typer.Context,
    *,
    until_idle: Annotated[
        bool,
        typer.Option(
            "--until-idle", help="Leave when all is done that can be: also what is due later."
        ),
    ] = False,
    allow_http: Annotated[
        bool, typer.Option("--allow-http", help="Let http:// leave this host: anybody can read it.")
    ] = False,
    as_json: Annotated[bool, typer.Option("--json", help="JSON lines, for programs.")] = False,
) -> None:
    """Runs the stored tasks until it is stopped, or with --until-idle until they are done.

    A retry that is due later is waited for. What waits for a network, or for the application's own
    code, is not; it stays in the store. Where another process runs the tasks, this one looks on,
    and takes over when that one ends.
    """
    place: Place = context.obj.only_here("run").existing()

    async def work() -> int:
        # Asked before anything can run, so that nothing that happens is missed.
        async with place.manager(run=False) as manager:
            before = await manager.stats()
        async with place.manager(run=True, allow_http=allow_http) as manager:
            log = _Log(before.last_event, as_json=as_json)
            ways = (
                [log.follow(manager), _until_idle(manager)] if until_idle else [log.follow(manager)]
            )
            await _first_of(ways)
            await log.rest(manager)
            after = await manager.stats()
        if after.live:
            ask = f"outhaul --db {shlex.quote(place.db)} list"
            complain(f"not ended: {after.live}; `{ask}` says what they wait for")
        return ExitStatus.FAILED if log.unsuccessful else ExitStatus.OK

    run(work(), stored=lambda: place.safe, tells_failures=True)


class _Log:
    """Writes every event once.

    Attributes:
        unsuccessful: How many of them say that a task has failed or was cancelled.
    """

    def __init__(self, seen: int, *, as_json: bool) -> None:
        self.unsuccessful = 0
        self._seen = seen
        self._as_json = as_json

    async def follow(self, manager: WorkManager) -> None:
        """Writes what happens, until it is cancelled."""
        await self._write(manager, follow=True)

    async def rest(self, manager: WorkManager) -> None:
        """Writes what has happened and was not written yet."""
        await self._write(manager, follow=False)

    async def _write(self, manager: WorkManager, *, follow: bool) -> None:
        async for event in manager.events(after=self._seen, follow=follow):
            self._seen = event.seq
            self.unsuccessful += event.kind in {EventKind.FAILED, EventKind.CANCELLED}
            render.event(event, as_json=self._as_json)


async def _first_of(ways: Iterable[Coroutine[Any, Any, None]]) -> None:
    """Waits for the first of these, and raises what it raises. The others are cancelled."""
    tasks = [asyncio.create_task(way) for way in ways]
    try:
        done, _ = await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
    for task in done:
        task.result()


async def _until_idle(manager: WorkManager) -> None:
    """Waits until no task is left but those that wait for somebody else.

    `WorkManager.wait_idle` waits for what is due now; a person means what will be due, too.
    """
    told = ""
    next_due: TaskRecord | None = None
    while True:
        stats = await manager.stats()
        if not stats.running and not await _stands(manager, next_due):
            live = await manager.get_tasks_by_status(TaskStatus.PENDING, TaskStatus.RUNNING)
            awaited = [record for record in live if _is_awaited(record)]
            if not awaited:
                return
            next_due = min(awaited, key=_due)
            told = _tell_once(next_due, len(awaited), told)
        await asyncio.sleep(POLL_S)


async def _stands(manager: WorkManager, record: TaskRecord | None) -> bool:
    """Whether a task stands where it stood. While one is awaited, the others need not be asked."""
    return record is not None and await manager.get_task(record.task_id) == record


def _is_awaited(record: TaskRecord) -> bool:
    if record.status is TaskStatus.RUNNING:
        return True
    # A Python worker needs the application that has its code: here nobody will run it.
    return record.waiting_on in _PASSES and record.worker != "python"


def _due(record: TaskRecord) -> tuple[bool, int]:
    return record.waiting_on in _DUE_LATER, record.run_at_ms or 0


def _tell_once(next_due: TaskRecord, count: int, told: str) -> str:
    """Says until when it waits; nothing, where something is about to run or was said before."""
    if next_due.waiting_on not in _DUE_LATER:
        return told
    when = render.clock(next_due.run_at)
    says = f"waiting for {counted(count, 'task')}, the next due at {when}"
    if says != told:
        complain(says)
    return says
