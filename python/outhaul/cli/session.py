"""What every verb needs: an event loop, and errors as exit statuses."""

from __future__ import annotations

import asyncio
import enum
from typing import TYPE_CHECKING, Any, NoReturn

import typer

from outhaul.cli.render import printable
from outhaul.errors import OuthaulError

if TYPE_CHECKING:
    from collections.abc import Callable, Coroutine


class ExitStatus(enum.IntEnum):
    """What the command answers its caller."""

    OK = 0
    FAILED = 1
    USAGE = 2
    INTERRUPTED = 130


def run(
    work: Coroutine[Any, Any, int], *, interrupted: Callable[[], str] | None = None
) -> NoReturn:
    """Runs a verb to its end and leaves with its status.

    Args:
        work: The verb. What it returns is the exit status.
        interrupted: Answers what is said when the user has ended it with Ctrl-C.
    """
    try:
        with asyncio.Runner(loop_factory=_loop_factory()) as runner:
            status = runner.run(work)
    except KeyboardInterrupt:
        if interrupted is not None:
            complain(interrupted())
        status = ExitStatus.INTERRUPTED
    except OuthaulError as error:
        complain(str(error))
        bad_argument = isinstance(
            error, (ValueError, TypeError, FileNotFoundError, PermissionError)
        )
        status = ExitStatus.USAGE if bad_argument else ExitStatus.FAILED
    raise typer.Exit(int(status))


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


def _loop_factory() -> Callable[[], asyncio.AbstractEventLoop] | None:
    try:
        import uvloop  # noqa: PLC0415 — only a command wants it at once
    except ImportError:  # Windows
        return None
    return uvloop.new_event_loop
