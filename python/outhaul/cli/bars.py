"""How an upload of several files goes, on a terminal: bars, and lines above them."""

from __future__ import annotations

import itertools
from typing import TYPE_CHECKING, Final

from rich import progress as rich_progress

from outhaul.cli.report import PlainReporter
from outhaul.human import bytes_human, printable
from outhaul.model import EventKind, TaskEvent, TaskProgress

if TYPE_CHECKING:
    from rich.progress import TaskID

# How many files have a bar of their own; the others are in that for all files.
BARS_MAX: Final = 10

_PERCENT_MAX: Final = 100


class BarsReporter(PlainReporter):
    """A bar for all files, and for the first of those under way. What ended is a line above.

    To draw costs far more than to be told: only `refresh` draws, everything at once. Progress and
    events come by two ways, either of which may be late: events say whether an attempt runs.
    """

    def __init__(self, total: int) -> None:
        self._bars = rich_progress.Progress(
            rich_progress.TextColumn("{task.description}", markup=False),
            rich_progress.BarColumn(),
            rich_progress.TaskProgressColumn(),
            rich_progress.TextColumn("{task.fields[detail]}", markup=False),
            auto_refresh=False,
            transient=True,
        )
        self._all = self._bars.add_task("all files", total=total, detail="")
        self._bar_of: list[TaskID] = [
            self._bars.add_task("", total=_PERCENT_MAX, visible=False, detail="")
            for _ in range(BARS_MAX)
        ]
        self._lines: list[str] = []
        self._under_way: dict[str, TaskProgress] = {}
        self._ended: set[str] = set()
        self._pending: set[str] = set()  # no attempt of these runs
        self._bars.start()

    def progress(self, name: str, progress: TaskProgress) -> None:
        """Some of a file is sent."""
        if progress.percent == _PERCENT_MAX:  # it has arrived: its line follows
            self._under_way.pop(name, None)
        elif name not in self._ended:
            self._under_way[name] = progress

    def happened(self, name: str, event: TaskEvent) -> None:
        """See `Reporter`."""
        if event.kind is EventKind.STARTED:
            self._pending.discard(name)
        else:  # it waits, or has ended: its bar is another's
            self._under_way.pop(name, None)
            (self._ended if event.is_terminal else self._pending).add(name)
        super().happened(name, event)

    def say(self, line: str) -> None:
        """Has one line written above the bars."""
        self._lines.append(line)

    def refresh(self) -> None:
        """Draws what was told since the last time."""
        if self._lines:
            lines = "\n".join(self._lines)
            self._lines.clear()
            self._bars.console.print(lines, markup=False, highlight=False, soft_wrap=True)
        self._bars.update(self._all, completed=len(self._ended))
        running = (each for each in self._under_way.items() if each[0] not in self._pending)
        shown = itertools.islice(running, BARS_MAX)
        for bar, under_way in itertools.zip_longest(self._bar_of, shown):
            self._draw(bar, under_way)
        self._bars.refresh()

    def _draw(self, bar: TaskID, under_way: tuple[str, TaskProgress] | None) -> None:
        if under_way is None:
            self._bars.update(bar, visible=False)
            return
        name, progress = under_way
        detail = (
            f"{bytes_human(progress.bytes_sent)} of {bytes_human(progress.bytes_total)}, "
            f"{progress.rate_human}, {progress.remaining_human}"
        )
        self._bars.update(
            bar,
            visible=True,
            description=printable(name),
            completed=progress.percent,
            detail=detail,
        )

    def close(self) -> None:
        """Takes the bars away: what remains is lines."""
        try:
            self.refresh()
        finally:  # a terminal that was given no cursor back has none
            self._bars.stop()
