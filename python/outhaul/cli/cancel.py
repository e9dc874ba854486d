"""`outhaul cancel`: ends tasks for good."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import typer

from outhaul.cli.session import ExitStatus, complain, counted, run, usage

if TYPE_CHECKING:
    from outhaul.cli.place import Place


def cancel(
    context: typer.Context,
    task: Annotated[str | None, typer.Argument(metavar="[TASK]", help="Its id.")] = None,
    *,
    tag: Annotated[str | None, typer.Option(help="All with this label.")] = None,
    everything: Annotated[bool, typer.Option("--all", help="All.")] = False,
) -> None:
    """Cancels a task, all with a tag, or all: they stop within a second and never come back."""
    place: Place = context.obj.existing()
    if [task is not None, tag is not None, everything].count(True) != 1:
        usage("cancel: give one of TASK, --tag or --all")

    async def work() -> int:
        async with place.opened() as works:
            if task is not None:
                if not await works.cancel(task):
                    complain(f"no live task {task!r}: nothing was cancelled")
                    return ExitStatus.FAILED
                typer.echo(f"cancelled {task}")
                return ExitStatus.OK
            count = await (works.cancel_all() if tag is None else works.cancel_by_tag(tag))
            typer.echo(f"cancelled {counted(count, 'task')}")
            return ExitStatus.OK

    run(work())
