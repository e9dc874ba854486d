"""`outhaul run`: does what is in the store."""

from __future__ import annotations

import asyncio
import shlex
from typing import TYPE_CHECKING, Annotated, Final

import typer

from outhaul.cli import render
from outhaul.cli.session import ExitStatus, complain, counted, run
from outhaul.model import EventKind, TaskRecord, TaskStatus

if TYPE_CHECKING:
    from outhaul import WorkManager
    from outhaul.cli.place import Place

# How often it is asked whether anything is left. Asking is one query.
POLL_S: Final = 0.2

# What a pending task waits for that passes without anybody doing anything about it.
_PASSES: Final = frozenset({"time", "retry", "limit"})


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
            watcher = asyncio.create_task(log.follow(manager))
            try:
                await (_until_idle(manager) if until_idle else watcher)
            finally:
                watcher.cancel()
                await asyncio.gather(watcher, return_exceptions=True)
            await log.rest(manager)
            after = await manager.stats()
        if after.live:
            ask = f"outhaul --db {shlex.quote(place.db)} list"
            complain(f"not ended: {after.live}; `{ask}` says what they wait for")
        return ExitStatus.FAILED if log.unsuccessful else ExitStatus.OK

    run(work(), interrupted=lambda: place.safe)


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


async def _until_idle(manager: WorkManager) -> None:
    """Waits until no task is left but those that wait for somebody else.

    `WorkManager.wait_idle` waits for what is due now; a person means what will be due, too.
    """
    told = ""
    while True:
        stats = await manager.stats()
        if not stats.running:
            live = await manager.get_tasks_by_status(TaskStatus.PENDING, TaskStatus.RUNNING)
            awaited = [record for record in live if _is_awaited(record)]
            if not awaited:
                return
            told = _tell_once(awaited, told)
        await asyncio.sleep(POLL_S)


def _is_awaited(record: TaskRecord) -> bool:
    if record.status is TaskStatus.RUNNING:
        return True
    # A Python worker needs the application that has its code: here nobody will run it.
    return record.waiting_on in _PASSES and record.worker != "python"


def _tell_once(awaited: list[TaskRecord], told: str) -> str:
    """Says until when it waits; nothing, where something is about to run or was said before."""
    if any(record.waiting_on not in {"time", "retry"} for record in awaited):
        return told
    next_due = min((record.run_at for record in awaited if record.run_at), default=None)
    says = f"waiting for {counted(len(awaited), 'task')}, the next due at {render.clock(next_due)}"
    if says != told:
        complain(says)
    return says
