"""`outhaul list`: which tasks there are."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import typer

from outhaul.cli import render
from outhaul.cli.session import ExitStatus, complain, run
from outhaul.model import LIVE, TaskStatus

if TYPE_CHECKING:
    from outhaul.cli.place import Place


def list_tasks(
    context: typer.Context,
    *,
    tag: Annotated[str | None, typer.Option(help="Only those with this label.")] = None,
    status: Annotated[TaskStatus | None, typer.Option(help="Only those that stand so.")] = None,
    as_json: Annotated[bool, typer.Option("--json", help="JSON lines, for programs.")] = False,
) -> None:
    """Lists tasks: those that have not ended, unless --status says otherwise."""
    place: Place = context.obj.existing()
    statuses = [status] if status else LIVE

    async def work() -> int:
        async with place.opened() as works:
            if tag is not None:
                found = await works.get_tasks_by_tag(tag, statuses=statuses)
            else:
                found = await works.get_tasks_by_status(*statuses)
            render.records(found, as_json=as_json)
            if not found and not as_json:
                stats = await works.stats()
                complain(f"none ({stats.completed} completed, {stats.failed} failed)")
        return ExitStatus.OK

    run(work())
