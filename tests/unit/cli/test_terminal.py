"""What a terminal shows: bars that cost little, and tables that cut nothing off."""

from __future__ import annotations

import sys

import msgspec
import pytest
from tests.unit.cli.fakes import FAILED, RECORD, FakeManager, command, event

from outhaul import EventKind, TaskProgress
from outhaul.cli import render
from outhaul.cli.bars import BARS_MAX, BarsReporter

LONG_ID = "upload-" + "0123456789abcdef" * 2


def at(percent: int) -> TaskProgress:
    return TaskProgress(
        task_id="t1",
        key=1,
        percent=percent,
        bytes_sent=percent,
        bytes_acknowledged=0,
        bytes_total=100,
    )


def shown(bars: BarsReporter) -> list[str]:
    bars.refresh()
    return [task.description for task in bars._bars.tasks if task.visible]


@pytest.fixture
def draws(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """What was drawn, or written above."""
    done: list[str] = []
    monkeypatch.setattr("rich.progress.Progress.refresh", lambda _: done.append("bars"))
    monkeypatch.setattr("rich.console.Console.print", lambda _, *said, **__: done.extend(said))
    return done


def test_bars_leave_a_line_for_everything_that_ended(capsys: pytest.CaptureFixture[str]) -> None:
    bars = BarsReporter(2)
    bars.enqueued("[red].jpg", "t1", "accepted")
    for percent in (10, 90):
        bars.progress("[red].jpg", at(percent))
    bars.happened("[red].jpg", event(1))
    bars.happened("b.jpg", event(2, EventKind.FAILED, **FAILED))
    bars.close()
    out = capsys.readouterr().out
    assert "completed  [red].jpg\n" in out
    assert "failed     b.jpg  HTTP_SERVER_ERROR" in out


def test_what_has_ended_has_no_bar_even_if_news_of_it_is_late() -> None:
    bars = BarsReporter(3)
    for name in ("a", "b", "c"):
        bars.progress(name, at(10))
    assert shown(bars) == ["all files", "a", "b", "c"]
    bars.happened("a", event(1))
    bars.progress("a", at(50))
    bars.progress("b", at(100))
    assert shown(bars) == ["all files", "c"]
    bars.close()


def test_however_many_are_under_way_few_have_a_bar() -> None:
    bars = BarsReporter(1000)
    names = [str(number) for number in range(1000)]
    for name in names:
        bars.progress(name, at(10))
    assert shown(bars) == ["all files", *names[:BARS_MAX]]
    bars.happened("0", event(1))
    assert shown(bars) == ["all files", *names[1 : BARS_MAX + 1]]
    bars.close()


@pytest.mark.parametrize(
    "kind", [EventKind.RETRY_SCHEDULED, EventKind.INTERRUPTED, EventKind.RESCUED]
)
def test_what_waits_for_its_next_attempt_leaves_its_bar_to_another(kind: EventKind) -> None:
    bars = BarsReporter(20)
    waiting = [str(number) for number in range(BARS_MAX)]
    for name in waiting:
        bars.progress(name, at(40))
        bars.happened(name, event(1, kind, **FAILED))
    bars.progress("another", at(10))
    bars.progress("0", at(41))  # late, or early: the event says when it begins
    assert shown(bars) == ["all files", "another"]
    bars.happened("0", event(1, EventKind.STARTED))
    assert shown(bars) == ["all files", "another", "0"]
    bars.close()


def test_what_is_told_costs_no_drawing_until_it_is_due(draws: list[str]) -> None:
    bars = BarsReporter(1000)
    draws.clear()
    for number in range(1000):
        bars.progress(str(number), at(10))
        bars.happened(str(number), event(number))
    assert draws == []
    bars.refresh()
    lines, drawn = draws
    assert (lines.count("\n"), drawn) == (999, "bars")
    bars.close()


@pytest.mark.parametrize("columns", [20, 80, 100, 200])
def test_a_list_on_a_terminal_cuts_nothing_off(
    columns: int, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    record = msgspec.structs.replace(RECORD, task_id=LONG_ID, message="HTTP 503 of a server")
    monkeypatch.setattr(sys.stdout, "isatty", lambda: True)
    monkeypatch.setenv("COLUMNS", str(columns))
    monkeypatch.setenv("TERM", "xterm")
    render.records([record], as_json=False)
    out = capsys.readouterr().out
    is_table = columns == 200
    assert ("due or ended" in out) == is_table
    assert ("\t" not in out) == is_table
    for word in (LONG_ID, "pending (retry)", "HTTP 503 of a server", "/photos/a.jpg"):
        assert word in out


def test_a_list_that_goes_to_a_program_is_the_same_however_wide(
    manager: type[FakeManager], db: str
) -> None:
    manager.pending = [[msgspec.structs.replace(RECORD, task_id=LONG_ID)]]
    assert command(db, "list").stdout.startswith(f"{LONG_ID}\tpending (retry)\t")
