"""`outhaul upload`: makes files safe in the store, and stays until they have arrived."""

from __future__ import annotations

import asyncio
import re
import sys
from contextlib import aclosing
from typing import TYPE_CHECKING, Annotated, Final, cast

import typer

from outhaul.cli.report import JsonReporter, PlainReporter
from outhaul.cli.session import ExitStatus, complain, counted, run, usage
from outhaul.errors import InvalidArgumentError, OuthaulError
from outhaul.model import ScheduleResult
from outhaul.policies import RetryPolicy
from outhaul.secrets import Secret
from outhaul.tasks import Task, task_id_for
from outhaul.workers import NativeWorker

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, Iterable, Mapping, Sequence

    from outhaul.cli.bars import BarsReporter
    from outhaul.cli.place import Place
    from outhaul.cli.report import Reporter
    from outhaul.cli.works import Held, Works
    from outhaul.model import TaskEvent
    from outhaul.wire import SecretRef

# How often what is shown on a terminal is drawn anew.
REFRESH_S: Final = 0.1

# `Bearer env:API_TOKEN`: a word, and where the secret is found.
_REFERENCE = re.compile(r"(?P<prefix>\S+ )?(?P<source>env|file):(?P<name>\S.*)")


def upload(
    context: typer.Context,
    files: Annotated[list[str], typer.Argument(metavar="FILES", help="What to send.")],
    *,
    to: Annotated[str, typer.Option("--to", metavar="URL", help="Where to send it.")],
    tag: Annotated[str | None, typer.Option(help="A label for all of them.")] = None,
    field: Annotated[str, typer.Option(help="The form field that carries the file.")] = "file",
    header: Annotated[
        list[str] | None,
        typer.Option(
            metavar="'NAME: VALUE'",
            help="A request header; may be repeated. A credential is named, never given: "
            "'Authorization: Bearer env:API_TOKEN' or 'X-Api-Key: file:/run/secrets/key'.",
        ),
    ] = None,
    max_retries: Annotated[int, typer.Option(help="Attempts after the first one.")] = 3,
    retry_delay: Annotated[
        float,
        typer.Option(metavar="SECONDS", help="Before the first retry; each further wait doubles."),
    ] = 30.0,
    allow_http: Annotated[
        bool, typer.Option("--allow-http", help="Let http:// leave this host: anybody can read it.")
    ] = False,
    detach: Annotated[
        bool, typer.Option("--detach", help="Only store the work; another process does it.")
    ] = False,
    as_json: Annotated[bool, typer.Option("--json", help="JSON lines, for programs.")] = False,
) -> None:
    """Uploads files, and goes on where an earlier run was cut short.

    The same file to the same URL is the same task until it has ended: to run the command again
    while it waits or runs adds nothing.
    """
    place: Place = context.obj
    if allow_http and place.server is not None:
        usage("upload: whether http:// may leave its host is said where the server is started")
    is_stored = False

    async def work() -> int:
        nonlocal is_stored
        headers = [parse_header(text) for text in header or ()]
        retry = RetryPolicy(max_retries=max_retries, initial_delay=retry_delay)
        # One file may be spelled in several ways: the first one counts.
        names: dict[str, str] = {}
        for file in files:
            names.setdefault(task_id_for(file, to), file)
        tasks = [
            Task(
                task_id,
                NativeWorker.http_upload(url=to, file_path=file, field_name=field, headers=headers),
                retry=retry,
                tag=tag,
            )
            for task_id, file in names.items()
        ]
        if place.server is not None:
            where = place.opened()
        else:
            where = place.manager(run=not detach, allow_http=allow_http)
        async with where as works:
            # Asked before anything can run, so that nothing that happens is missed.
            before = await works.stats()
            handles: Sequence[Held] = await works.enqueue_all(tasks)
            is_stored = True
            if detach:
                return _detached(names.values(), handles, as_json=as_json)
            _tell_kept(handles)
            held = zip(handles, names.values(), strict=True)
            name_of = {handle.key: name for handle, name in held}
            return await _attended(works, name_of, after=before.last_event, as_json=as_json)

    run(
        work(),
        stored=lambda: place.safe if is_stored else None,
        unsure=place.unsure,
        tells_failures=True,
    )


def parse_header(text: str) -> tuple[str, str | SecretRef]:
    """A header as the command line spells it: `NAME: VALUE`, where a value may name a secret."""
    name, colon, value = text.partition(":")
    if not colon or not name.strip():
        # Without the text: it may be a credential.
        raise InvalidArgumentError(
            "has no name or no colon: write 'NAME: VALUE'", argument="--header"
        )
    name, value = name.strip(), value.strip()
    reference = _REFERENCE.fullmatch(value)
    if reference is None:
        return name, value
    prefix = reference["prefix"] or ""
    if reference["source"] == "env":
        return name, Secret.env(reference["name"], prefix=prefix)
    return name, Secret.file(reference["name"], prefix=prefix)


def _detached(names: Iterable[str], handles: Sequence[Held], *, as_json: bool) -> int:
    said = JsonReporter() if as_json else PlainReporter()
    for name, handle in zip(names, handles, strict=True):
        said.enqueued(name, handle.task_id, handle.schedule_result.value)
    return ExitStatus.OK


def _tell_kept(handles: Sequence[Held]) -> None:
    kept = sum(handle.schedule_result is ScheduleResult.KEPT for handle in handles)
    if kept:
        complain(
            f"{counted(kept, 'file')} stored by an earlier run, with the options of that run; "
            "to change these, cancel the tasks first"
        )


async def _attended(works: Works, names: Mapping[int, str], *, after: int, as_json: bool) -> int:
    """Tells how tasks go until all have ended. One stream of events says it, however many they are.

    Args:
        works: What does them.
        names: What they are called, by key.
        after: The last event before they were stored.
        as_json: Whether a program is told.
    """
    if sys.stdout.isatty() and not as_json:
        completed = await _drawn_until_ended(works, names, after=after)
    else:
        report = JsonReporter() if as_json else PlainReporter()
        completed = await _until_ended(works, names, report, after=after)
    return ExitStatus.OK if completed == len(names) else ExitStatus.FAILED


async def _drawn_until_ended(works: Works, names: Mapping[int, str], *, after: int) -> int:
    """Shows on a terminal how tasks go, until all have ended: how many have arrived."""
    # Imported here: it loads rich.
    from outhaul.cli.bars import BarsReporter  # noqa: PLC0415

    bars = BarsReporter(len(names))
    display = [
        asyncio.create_task(_show_progress(works, names, bars)),
        asyncio.create_task(_keep_drawn(bars)),
    ]
    try:
        completed = await _until_ended(works, names, bars, after=after)
    finally:
        for task in display:
            task.cancel()
        outcomes = await asyncio.gather(*display, return_exceptions=True)
        bars.close()
    for outcome in outcomes:
        if isinstance(outcome, OuthaulError):  # something was not shown: that changes no result
            complain(str(outcome))
        elif isinstance(outcome, Exception):
            raise outcome
    return completed


async def _until_ended(
    works: Works, names: Mapping[int, str], report: Reporter, *, after: int
) -> int:
    """Waits until all have ended: how many have arrived."""
    waiting = set(names)
    completed = 0
    events = works.events(after=after)
    async with aclosing(cast("AsyncGenerator[TaskEvent]", events)) as log:
        while waiting:
            event = await anext(log)
            if event.key not in waiting:
                continue
            report.happened(names[event.key], event)
            if event.is_terminal:
                waiting.discard(event.key)
                completed += event.success is True
    return completed


async def _show_progress(works: Works, names: Mapping[int, str], bars: BarsReporter) -> None:
    async for progress in works.progress():
        name = names.get(progress.key)
        if name is not None:
            bars.progress(name, progress)


async def _keep_drawn(bars: BarsReporter) -> None:
    while True:
        await asyncio.sleep(REFRESH_S)
        bars.refresh()
