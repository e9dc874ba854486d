"""`outhaul upload`: makes files safe in the store, and stays until they have arrived."""

from __future__ import annotations

import asyncio
import re
from typing import TYPE_CHECKING, Annotated

import typer

from outhaul.cli import render
from outhaul.cli.session import ExitStatus, run
from outhaul.errors import InvalidArgumentError
from outhaul.model import EventKind
from outhaul.policies import RetryPolicy
from outhaul.secrets import Secret
from outhaul.tasks import Task, task_id_for
from outhaul.workers import NativeWorker

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from outhaul.cli.place import Place
    from outhaul.cli.works import Held, Works
    from outhaul.wire import SecretRef

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
    is_stored = False

    async def work() -> int:
        nonlocal is_stored
        headers = [parse_header(text) for text in header or ()]
        retry = RetryPolicy(max_retries=max_retries, initial_delay=retry_delay)
        tasks = {
            file: Task(
                task_id_for(file, to),
                NativeWorker.http_upload(url=to, file_path=file, field_name=field, headers=headers),
                retry=retry,
                tag=tag,
            )
            for file in files
        }
        if place.server is not None:
            where = place.opened()
        else:
            where = place.manager(run=not detach, allow_http=allow_http)
        async with where as works:
            handles: Sequence[Held] = await works.enqueue_all(list(tasks.values()))
            is_stored = True
            if detach:
                return _detached(tasks, handles, as_json=as_json)
            return await _attended(works, tasks, handles, as_json=as_json)

    run(work(), interrupted=lambda: place.safe if is_stored else place.unsure)


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
    report = render.JsonReporter() if as_json else render.PlainReporter()
    for name, handle in zip(names, handles, strict=True):
        report.enqueued(name, handle.task_id, handle.schedule_result.value)
    return ExitStatus.OK


async def _attended(
    works: Works, files: Iterable[str], handles: Sequence[Held], *, as_json: bool
) -> int:
    names: dict[int, str] = {handle.key: name for name, handle in zip(files, handles, strict=True)}
    report = render.reporter(as_json=as_json, total=len(handles))
    watchers = [
        asyncio.create_task(_show_progress(works, names, report)),
        asyncio.create_task(_show_retries(works, names, report)),
    ]
    results = [asyncio.create_task(handle.result()) for handle in handles]
    completed = 0
    try:
        for ended in asyncio.as_completed(results):
            event = await ended
            report.finished(names[event.key], event)
            completed += event.success is True
    finally:
        for task in (*watchers, *results):
            task.cancel()
        outcomes = await asyncio.gather(*watchers, *results, return_exceptions=True)
        report.close()
    for outcome in outcomes:
        if isinstance(outcome, Exception):
            raise outcome
    return ExitStatus.OK if completed == len(handles) else ExitStatus.FAILED


async def _show_progress(works: Works, names: Mapping[int, str], report: render.Reporter) -> None:
    async for progress in works.progress():
        name = names.get(progress.key)
        if name is not None:
            report.progress(name, progress)


async def _show_retries(works: Works, names: Mapping[int, str], report: render.Reporter) -> None:
    async for event in works.events():
        name = names.get(event.key)
        if name is not None and event.kind is EventKind.RETRY_SCHEDULED:
            report.retrying(name, event)
