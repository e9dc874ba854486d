"""`outhaul show`: one task, and what happened to it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import msgspec
import typer

from outhaul.cli import render
from outhaul.cli.session import ExitStatus, run
from outhaul.errors import TaskNotFoundError

if TYPE_CHECKING:
    from outhaul.cli.place import Place


def show(
    context: typer.Context,
    task: Annotated[str, typer.Argument(metavar="TASK", help="Its id.")],
    *,
    as_json: Annotated[bool, typer.Option("--json", help="One JSON object.")] = False,
) -> None:
    """Shows a task and its events."""
    place: Place = context.obj.existing()

    async def work() -> int:
        async with place.opened() as works:
            record = await works.get_task(task)
            if record is None:
                raise TaskNotFoundError(f"no task {task!r} at {place}")
            events = [
                event
                async for event in works.events(after=0, task_id=task, follow=False)
                if event.key == record.key
            ]
        if as_json:
            said = [render.event_json(event) for event in events]
            render.echo_json({**msgspec.to_builtins(record), "events": said})
            return ExitStatus.OK
        render.details(record)
        for event in events:
            render.event(event, as_json=False)
        return ExitStatus.OK

    run(work())
