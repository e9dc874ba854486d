"""What every verb needs: an event loop, and errors and signals as exit statuses."""

from __future__ import annotations

import asyncio
import contextlib
import enum
import logging
from typing import TYPE_CHECKING, Any, NoReturn

import typer

from outhaul.cli.signals import Signals
from outhaul.cli.streams import OutputError
from outhaul.errors import OuthaulError, StoreError
from outhaul.human import printable

if TYPE_CHECKING:
    from collections.abc import Callable, Coroutine, Iterator


# How the command spells what an application says.
_AS_OPTIONS = {
    "allow_http=True": "--allow-http",
    'Secret.env("NAME"), Secret.file("/path") or Secret.provider("name")': "env:NAME or file:/path",
}


class ExitStatus(enum.IntEnum):
    """What the command answers its caller. A signal has a status of its own: 128 and its number."""

    OK = 0
    FAILED = 1
    USAGE = 2


def run(
    work: Coroutine[Any, Any, int],
    *,
    stored: Callable[[], str | None] | None = None,
    unsure: str = "",
    tells_failures: bool = False,
) -> NoReturn:
    """Runs a verb to its end and leaves with its status.

    Args:
        work: The verb. What it returns is the exit status.
        stored: Says where the work is safe, once it is. Told to a user whose verb is cut short.
        unsure: Told to one who stops it before.
        tells_failures: Whether the verb itself says which tasks fail, so that the log need not.
    """
    status: int
    with Signals() as signals, _log_of_failures(disabled=tells_failures):
        try:
            with asyncio.Runner(loop_factory=_loop_factory()) as runner:
                status = runner.run(signals.stoppable(work))
        except (asyncio.CancelledError, OuthaulError, OutputError) as error:
            safe = stored() if stored is not None else None
            if signals.number is None and isinstance(error, Exception):
                status = _failed(error, safe)
            else:
                if safe or unsure:
                    complain(f"interrupted: {safe or unsure}")
                status = signals.status
    raise typer.Exit(int(status))


@contextlib.contextmanager
def _log_of_failures(*, disabled: bool) -> Iterator[None]:
    log = logging.getLogger("outhaul.tasks")
    before, log.disabled = log.disabled, disabled or log.disabled
    try:
        yield
    finally:
        log.disabled = before


def _failed(error: Exception, safe: str | None) -> ExitStatus:
    message = str(error)
    for in_python, as_option in _AS_OPTIONS.items():
        message = message.replace(in_python, as_option)
    complain(message)
    if isinstance(error, (ValueError, TypeError, FileNotFoundError, PermissionError)):
        return ExitStatus.USAGE
    if safe is not None and not isinstance(error, StoreError):  # which keeps no promise
        complain(safe)
    return ExitStatus.FAILED


def usage(message: str) -> NoReturn:
    """Leaves because the command line says nothing that can be done."""
    complain(message)
    raise typer.Exit(int(ExitStatus.USAGE))


def counted(number: int, noun: str) -> str:
    """A number of things: `1 task`, `2 tasks`."""
    return f"{number} {noun}" if number == 1 else f"{number} {noun}s"


def complain(message: str) -> None:
    """Says something to people, where it does not disturb programs."""
    typer.echo(f"outhaul: {printable(message)}", err=True)


def _loop_factory() -> Callable[[], asyncio.AbstractEventLoop]:
    import uvloop  # noqa: PLC0415 — only a command wants it at once

    return uvloop.new_event_loop
