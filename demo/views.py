"""How the uploads are shown: bars on a terminal, lines elsewhere."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final, Self

from rich import progress as rich_progress

from demo.files import FILES
from outhaul import EventKind, TaskEvent, TaskProgress

if TYPE_CHECKING:
    from rich.console import Console

_STEP_PERCENT: Final = 10
_LARGE_BYTES: Final = 100_000_000


class View:
    """What both ways have in common: a line for what goes wrong."""

    def __init__(self, console: Console) -> None:
        self.console = console
        self.arrived = 0
        self.rescued = 0

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        pass

    def happened_before(self, event: TaskEvent) -> None:
        """An event of an earlier run, or of the moment before we looked."""
        self.arrived += event.kind is EventKind.COMPLETED
        self.rescued += event.kind is EventKind.RESCUED

    def goes_on(self) -> None:
        """All that happened before is told."""
        if self.arrived or self.rescued:
            self.say(
                f"{'goes on':<10} {self.arrived} of {len(FILES)} had arrived; "
                f"under way, and sent again: {self.rescued}"
            )

    def happened(self, event: TaskEvent) -> None:
        """Something happened to a task."""
        if event.kind is EventKind.RETRY_SCHEDULED:
            self.say(f"{'again':<10} {event.task_id}: {event.message}")
        elif event.kind is EventKind.FAILED:
            self.say(f"{'failed':<10} {event.task_id}: {event.message}")

    def progress(self, progress: TaskProgress) -> None:
        """A transfer moved."""

    def say(self, line: str) -> None:
        self.console.print(line, markup=False, highlight=False, soft_wrap=True)


class LinesView(View):
    """A line for everything that stays true."""

    def __init__(self, console: Console) -> None:
        super().__init__(console)
        self._told: dict[str, int] = {}

    def happened(self, event: TaskEvent) -> None:
        super().happened(event)
        if event.kind is EventKind.COMPLETED:
            self.say(f"{'arrived':<10} {event.task_id}")

    def progress(self, progress: TaskProgress) -> None:
        step = progress.percent // _STEP_PERCENT
        large = progress.bytes_total > _LARGE_BYTES
        if large and step > self._told.get(progress.task_id, 0):
            self._told[progress.task_id] = step
            self.say(f"{progress.percent:>8} %  {progress.task_id}")


class BarsView(View):
    """A bar for every file, and one for all of them."""

    def __init__(self, console: Console) -> None:
        super().__init__(console)
        self._bars = rich_progress.Progress(
            rich_progress.TextColumn("{task.description}", markup=False),
            rich_progress.BarColumn(),
            rich_progress.TaskProgressColumn(),
            rich_progress.TextColumn("{task.fields[detail]}", markup=False),
            console=console,
        )
        self._bar_of = {
            name: self._bars.add_task(name, total=100, detail="waits") for name, _ in FILES
        }
        self._all = self._bars.add_task("all files", total=len(FILES), detail="")

    def __enter__(self) -> Self:
        self._bars.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._bars.stop()

    def happened_before(self, event: TaskEvent) -> None:
        super().happened_before(event)
        self._show(event)

    def happened(self, event: TaskEvent) -> None:
        super().happened(event)
        self._show(event)

    def progress(self, progress: TaskProgress) -> None:
        detail = f"{progress.rate_human}, {progress.remaining_human}"
        self._bars.update(self._bar_of[progress.task_id], completed=progress.percent, detail=detail)

    def _show(self, event: TaskEvent) -> None:
        bar = self._bar_of[event.task_id]
        if event.kind is EventKind.COMPLETED:
            self._bars.update(bar, completed=100, detail="arrived")
            self._bars.advance(self._all)
        elif event.kind is EventKind.RETRY_SCHEDULED:
            self._bars.update(bar, detail=f"again soon: {event.message}")
