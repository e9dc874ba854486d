"""`outhaul run`: does what is in the store."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Annotated

import typer

from outhaul.cli import render
from outhaul.cli.session import ExitStatus, complain, existing, open_manager, run, safe

if TYPE_CHECKING:
    from outhaul import WorkManager  # type: ignore[attr-defined]  # until it is there


def run_tasks(
    context: typer.Context,
    *,
    until_idle: Annotated[
        bool, typer.Option("--until-idle", help="Leave when nothing is due any more.")
    ] = False,
    as_json: Annotated[bool, typer.Option("--json", help="JSON lines, for programs.")] = False,
) -> None:
    """Runs the stored tasks: until none is due, or until it is stopped."""
    db = existing(context.obj)

    async def work() -> int:
        async with open_manager(db, run=True) as manager:
            before = await manager.stats()
            watcher = asyncio.create_task(_show(manager, as_json=as_json))
            try:
                await (manager.wait_idle() if until_idle else watcher)
            finally:
                watcher.cancel()
                await asyncio.gather(watcher, return_exceptions=True)
            after = await manager.stats()
            if after.live:
                complain(f"not ended: {after.live}; `outhaul list` says what they wait for")
            return ExitStatus.FAILED if after.failed > before.failed else ExitStatus.OK

    run(work(), interrupted=safe(db))


async def _show(manager: WorkManager, *, as_json: bool) -> None:
    async for event in manager.events():
        render.event(event, as_json=as_json)
