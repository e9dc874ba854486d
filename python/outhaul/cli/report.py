"""How an upload of several files goes, told to people and programs: lines, JSON when asked."""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol

import typer

from outhaul.cli.render import clock, echo_json, event_json, printable, reason

if TYPE_CHECKING:
    from outhaul.model import TaskEvent, TaskProgress


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

    def refresh(self) -> None:
        """Shows what was told since the last time."""

    def close(self) -> None:
        """Nothing more comes."""


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

    def refresh(self) -> None:
        """See `Reporter`."""

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

    def refresh(self) -> None:
        """See `Reporter`."""

    def close(self) -> None:
        """See `Reporter`."""
