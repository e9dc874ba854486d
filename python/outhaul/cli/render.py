"""What people and programs see of tasks and events: a table or lines, JSON when asked."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING, Any

import msgspec
import typer

from outhaul.human import printable
from outhaul.model import EventKind, TaskEvent, TaskRecord

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping
    from datetime import datetime


def records(found: Iterable[TaskRecord], *, as_json: bool) -> None:
    """Writes tasks: JSON lines, a table on a terminal that is wide enough, or columns and tabs."""
    if as_json:
        for record in found:
            echo_json(msgspec.to_builtins(record))
        return
    rows = [_row(record) for record in found]
    if not (sys.stdout.isatty() and _table(rows)):
        for row in rows:
            typer.echo("\t".join(row))


_COLUMNS = ("task", "status", "attempt", "tag", "due or ended", "message", "file or callback")
_WIDE = 1_000_000


def _row(record: TaskRecord) -> tuple[str, ...]:
    waits = f" ({record.waiting_on.value})" if record.waiting_on else ""
    return (
        printable(record.task_id),
        record.status.value + waits,
        str(record.attempt),
        printable(record.tag or ""),
        clock(record.run_at or record.finished_at),
        printable(record.message),
        printable(record.file_path or record.callback_id or ""),
    )


def _table(rows: list[tuple[str, ...]]) -> bool:
    """Writes rows as a table, if the terminal is wide enough for it: nothing is cut off."""
    from rich.console import Console  # noqa: PLC0415 — only a terminal wants it
    from rich.table import Table  # noqa: PLC0415
    from rich.text import Text  # noqa: PLC0415

    table = Table(*_COLUMNS, box=None, pad_edge=False)
    for row in rows:
        table.add_row(*map(Text, row))
    console = Console()
    unbounded = console.options.update(width=_WIDE)
    if console.measure(table, options=unbounded).maximum > console.width:
        return False
    console.print(table)
    return True


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
