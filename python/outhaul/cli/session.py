"""What every verb needs: an open manager, an event loop, and errors as exit statuses."""

from __future__ import annotations

import asyncio
import enum
import os
import shlex
from typing import TYPE_CHECKING, Any, NoReturn

import typer

from outhaul.errors import OuthaulError

if TYPE_CHECKING:
    from collections.abc import Callable, Coroutine

    from outhaul import WorkManager


class ExitStatus(enum.IntEnum):
    """What the command answers its caller."""

    OK = 0
    FAILED = 1
    USAGE = 2
    INTERRUPTED = 130


def open_manager(db: str, *, run: bool, allow_http: bool = False) -> WorkManager:
    """The manager, to be entered. With `run=False` it only asks and enqueues."""
    from outhaul import WorkManager  # noqa: PLC0415 — tests put theirs there

    return WorkManager(db, run=run, allow_http=allow_http)


def safe(db: str) -> str:
    """What is said to a user who stops work that is stored."""
    again = f"outhaul --db {shlex.quote(db)} run --until-idle"
    return f"interrupted: the work is safe in {db}; `{again}` goes on with it"


def existing(db: str) -> str:
    """`db`, which must be there: a question should not create an empty store."""
    if not os.path.exists(db):  # noqa: PTH110 — a string is what the manager wants
        usage(f"no store at {db}: give --db, or set OUTHAUL_DB")
    return db


def run(work: Coroutine[Any, Any, int], *, interrupted: str = "") -> NoReturn:
    """Runs a verb to its end and leaves with its status.

    Args:
        work: The verb. What it returns is the exit status.
        interrupted: What is said when the user ends it with Ctrl-C.
    """
    try:
        with asyncio.Runner(loop_factory=_loop_factory()) as runner:
            status = runner.run(work)
    except KeyboardInterrupt:
        if interrupted:
            complain(interrupted)
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
    typer.echo(f"outhaul: {message}", err=True)


def _loop_factory() -> Callable[[], asyncio.AbstractEventLoop] | None:
    try:
        import uvloop  # noqa: PLC0415 — only a command wants it at once
    except ImportError:  # Windows
        return None
    return uvloop.new_event_loop
