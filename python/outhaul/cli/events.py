"""`outhaul events`: the durable log of what happened."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import typer

from outhaul.cli import render
from outhaul.cli.session import ExitStatus, run

if TYPE_CHECKING:
    from outhaul.cli.place import Place


def events(
    context: typer.Context,
    *,
    tag: Annotated[str | None, typer.Option(help="Only of tasks with this label.")] = None,
    after: Annotated[int, typer.Option(metavar="NUMBER", help="Only after that event.")] = 0,
    follow: Annotated[bool, typer.Option("--follow", help="Go on as more happens.")] = False,
    as_json: Annotated[bool, typer.Option("--json", help="JSON lines, for programs.")] = False,
) -> None:
    """Prints what happened, oldest first."""
    place: Place = context.obj.existing()

    async def work() -> int:
        async with place.opened() as works:
            async for event in works.events(after=after, tag=tag, follow=follow):
                render.event(event, as_json=as_json)
        return ExitStatus.OK

    run(work())
