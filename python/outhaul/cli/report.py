"""How an upload of several files goes, told to people and programs: lines, JSON when asked."""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol

import typer

from outhaul.cli.render import clock, echo_json, event_json, reason
from outhaul.human import printable
from outhaul.model import EventKind

if TYPE_CHECKING:
    from outhaul.model import TaskEvent


class Reporter(Protocol):
    """Tells how an upload of several files goes. `name` is the file as the user spelled it."""

    def happened(self, name: str, event: TaskEvent) -> None:
        """Something happened to its task. That it ended or is tried again is told, no more."""


class JsonReporter:
    """One JSON object a line: what ended, and nothing that only people want."""

    def enqueued(self, name: str, task_id: str, result: str) -> None:
        """A file is in the store (or was: `kept`)."""
        echo_json({"file": name, "task_id": task_id, "schedule_result": result})

    def happened(self, name: str, event: TaskEvent) -> None:
        """See `Reporter`."""
        if event.is_terminal or event.kind is EventKind.RETRY_SCHEDULED:
            echo_json({"file": name, **event_json(event)})


class PlainReporter:
    """A line for everything that stays true."""

    def enqueued(self, name: str, task_id: str, result: str) -> None:
        """A file is in the store (or was: `kept`)."""
        self.say(f"{result:<10} {printable(name)}  {task_id}")

    def happened(self, name: str, event: TaskEvent) -> None:
        """See `Reporter`."""
        if event.is_terminal:
            why = "" if event.success else f"  {reason(event)}"
            self.say(f"{event.kind.value:<10} {printable(name)}{why}")
        elif event.kind is EventKind.RETRY_SCHEDULED:
            when = f", again at {clock(event.retry_at)}" if event.retry_at else ""
            self.say(f"{'retry':<10} {printable(name)}  {reason(event)}{when}")

    def say(self, line: str) -> None:
        """Writes one line."""
        typer.echo(line)
