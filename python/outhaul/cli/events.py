"""`outhaul events`: the durable log of what happened."""

from __future__ import annotations

from typing import Annotated

import typer

from outhaul.cli import render
from outhaul.cli.session import ExitStatus, existing, open_manager, run


def events(
    context: typer.Context,
    *,
    tag: Annotated[str | None, typer.Option(help="Only of tasks with this label.")] = None,
    after: Annotated[int, typer.Option(metavar="NUMBER", help="Only after that event.")] = 0,
    follow: Annotated[bool, typer.Option("--follow", help="Go on as more happens.")] = False,
    as_json: Annotated[bool, typer.Option("--json", help="JSON lines, for programs.")] = False,
) -> None:
    """Prints what happened, oldest first."""
    db = existing(context.obj)

    async def work() -> int:
        async with open_manager(db, run=False) as manager:
            async for event in manager.events(after=after, tag=tag, follow=follow):
                render.event(event, as_json=as_json)
        return ExitStatus.OK

    run(work())
