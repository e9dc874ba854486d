"""What people and programs see: bars on a terminal, plain lines elsewhere, JSON when asked."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING, Any, Protocol

import msgspec
import typer

from outhaul.model import EventKind, TaskEvent, TaskProgress, TaskRecord, bytes_human

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping
    from datetime import datetime

    from rich.progress import Progress, TaskID


class Reporter(Protocol):
    """Tells how an upload of several files goes. `name` is the file as the user spelled it."""

    def enqueued(self, name: str, task_id: str, result: str) -> None:
        """A file is in the store (or was: `kept`)."""

    def progress(self, name: str, progress: TaskProgress) -> None:
        """Some of a file is sent."""

    def retrying(self, name: str, event: TaskEvent) -> None:
        """An attempt failed and another follows."""

    def finished(self, name: str, event: TaskEvent) -> None:
        """A task ended."""

    def close(self) -> None:
        """Nothing more comes."""


def reporter(*, as_json: bool, total: int) -> Reporter:
    """The reporter for a terminal, a program, or a file."""
    if as_json:
        return JsonReporter()
    return BarsReporter(total) if sys.stdout.isatty() else PlainReporter()


class JsonReporter:
    """One JSON object a line: what ended, and nothing that only people want."""

    def enqueued(self, name: str, task_id: str, result: str) -> None:
        """See `Reporter`."""
        echo_json({"file": name, "task_id": task_id, "schedule_result": result})

    def progress(self, name: str, progress: TaskProgress) -> None:
        """See `Reporter`."""

    def retrying(self, name: str, event: TaskEvent) -> None:
        """See `Reporter`."""
        echo_json({"file": name, **event_json(event)})

    def finished(self, name: str, event: TaskEvent) -> None:
        """See `Reporter`."""
        echo_json({"file": name, **event_json(event)})

    def close(self) -> None:
        """See `Reporter`."""


class PlainReporter:
    """A line for everything that stays true."""

    def enqueued(self, name: str, task_id: str, result: str) -> None:
        """See `Reporter`."""
        self.say(f"{result:<10} {printable(name)}  {task_id}")

    def progress(self, name: str, progress: TaskProgress) -> None:
        """See `Reporter`."""

    def retrying(self, name: str, event: TaskEvent) -> None:
        """See `Reporter`."""
        when = f", again at {clock(event.retry_at)}" if event.retry_at else ""
        self.say(f"{'retry':<10} {printable(name)}  {reason(event)}{when}")

    def finished(self, name: str, event: TaskEvent) -> None:
        """See `Reporter`."""
        why = "" if event.success else f"  {reason(event)}"
        self.say(f"{event.kind.value:<10} {printable(name)}{why}")

    def say(self, line: str) -> None:
        """Writes one line."""
        typer.echo(line)

    def close(self) -> None:
        """See `Reporter`."""


class BarsReporter(PlainReporter):
    """A bar for every file under way, and one for all of them. What ended is a line above."""

    def __init__(self, total: int) -> None:
        self._bars = _bars()
        self._all: TaskID = self._bars.add_task("all files", total=total, detail="")
        self._bar_of: dict[str, TaskID] = {}
        self._bars.start()

    def enqueued(self, name: str, task_id: str, result: str) -> None:
        """Said by the bar itself, unless it is news."""
        if result not in {"accepted", "kept"}:
            super().enqueued(name, task_id, result)

    def progress(self, name: str, progress: TaskProgress) -> None:
        """See `Reporter`."""
        bar = self._bar_of.get(name)
        if bar is None:
            bar = self._bars.add_task(printable(name), total=100, detail="")
            self._bar_of[name] = bar
        detail = (
            f"{bytes_human(progress.bytes_sent)} of {bytes_human(progress.bytes_total)}, "
            f"{progress.rate_human}, {progress.remaining_human}"
        )
        self._bars.update(bar, completed=progress.percent, detail=detail)

    def finished(self, name: str, event: TaskEvent) -> None:
        """See `Reporter`."""
        bar = self._bar_of.pop(name, None)
        if bar is not None:
            self._bars.remove_task(bar)
        self._bars.advance(self._all)
        super().finished(name, event)

    def say(self, line: str) -> None:
        """Writes one line above the bars."""
        self._bars.console.print(line, markup=False, highlight=False, soft_wrap=True)

    def close(self) -> None:
        """Takes the bars away: what remains is lines."""
        self._bars.stop()


def _bars() -> Progress:
    from rich import progress as rich_progress  # noqa: PLC0415 — only a terminal wants it

    return rich_progress.Progress(
        rich_progress.TextColumn("{task.description}", markup=False),
        rich_progress.BarColumn(),
        rich_progress.TaskProgressColumn(),
        rich_progress.TextColumn("{task.fields[detail]}", markup=False),
        transient=True,
    )


def records(found: Iterable[TaskRecord], *, as_json: bool) -> None:
    """Writes tasks: JSON lines, a table on a terminal, or columns divided by tabs."""
    if as_json:
        for record in found:
            echo_json(msgspec.to_builtins(record))
    elif sys.stdout.isatty():
        _table(found)
    else:
        for record in found:
            typer.echo("\t".join(_row(record)))


_COLUMNS = ("task", "status", "attempt", "tag", "due or ended", "message", "file or callback")


def _row(record: TaskRecord) -> tuple[str, ...]:
    waits = f" ({record.waiting_on})" if record.waiting_on else ""
    return (
        printable(record.task_id),
        record.status.value + waits,
        str(record.attempt),
        printable(record.tag or ""),
        clock(record.run_at or record.finished_at),
        printable(record.message),
        printable(record.file_path or record.callback_id or ""),
    )


def _table(found: Iterable[TaskRecord]) -> None:
    from rich.console import Console  # noqa: PLC0415 — only a terminal wants it
    from rich.table import Table  # noqa: PLC0415
    from rich.text import Text  # noqa: PLC0415

    table = Table(*_COLUMNS, box=None, pad_edge=False)
    for record in found:
        table.add_row(*(Text(cell) for cell in _row(record)))
    Console().print(table)


def details(record: TaskRecord) -> None:
    """Writes all that is known of one task, a line each."""
    said: Mapping[str, object] = {
        "task": record.task_id,
        "status": _row(record)[1],
        "worker": record.worker,
        "file": record.file_path,
        "callback": record.callback_id,
        "tag": record.tag,
        "priority": record.priority,
        "attempt": record.attempt,
        "enqueued": clock(record.created_at),
        "due": clock(record.run_at) or None,
        "finished": clock(record.finished_at) or None,
        "error": record.error_code.value if record.error_code else None,
        "HTTP status": record.http_status,
        "message": record.message or None,
    }
    for name, value in said.items():
        if value is not None:
            typer.echo(f"{name:<12}{printable(str(value))}")


def event(happened: TaskEvent, *, as_json: bool) -> None:
    """Writes one event as a line."""
    if as_json:
        echo_json(event_json(happened))
        return
    about = f" attempt {happened.attempt}" if happened.attempt else ""
    why = "" if happened.success or not happened.message else f"  {reason(happened)}"
    typer.echo(
        f"{happened.seq:>6}  {clock(happened.at)}  {happened.kind.value:<15} "
        f"{printable(happened.task_id)}{about}{why}"
    )


def event_json(happened: TaskEvent) -> dict[str, Any]:
    """An event for programs, with what a program would compute from it."""
    said: dict[str, Any] = msgspec.to_builtins(happened)
    if happened.kind in {EventKind.COMPLETED, EventKind.FAILED}:
        said["success"] = happened.success
    return said


def echo_json(value: object) -> None:
    """Writes one JSON object as a line."""
    typer.echo(msgspec.json.encode(value))  # bytes: UTF-8 whatever the user's locale is


def reason(happened: TaskEvent) -> str:
    """Why an attempt did not succeed, on one line."""
    code = f"{happened.error_code.value}: " if happened.error_code else ""
    return printable(f"{code}{happened.message or happened.kind.value}")


def clock(when: datetime | None) -> str:
    """A time as the user's wall shows it; nothing where there is none."""
    return "" if when is None else when.astimezone().strftime("%Y-%m-%d %H:%M:%S")


def printable(text: str) -> str:
    """Text that cannot steer a terminal: names and servers' words are not ours."""
    if text.isprintable():
        return text
    return "".join(ch if ch.isprintable() else "\N{REPLACEMENT CHARACTER}" for ch in text)
