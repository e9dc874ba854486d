"""The words: what an event means, and how amounts are shown."""

from __future__ import annotations

from datetime import UTC, datetime

import pytest

from outhaul import EventKind, Stats, TaskEvent, TaskProgress, TaskStatus
from outhaul.human import bytes_human, duration_human


@pytest.mark.parametrize("kind", EventKind)
def test_success_is_known_only_at_the_end(kind: EventKind) -> None:
    event = TaskEvent(seq=1, at_ms=0, kind=kind, task_id="a", key=1)
    expected = {EventKind.COMPLETED: True, EventKind.FAILED: False}
    assert event.success is expected.get(kind)


def test_a_status_is_its_word() -> None:
    status: str = TaskStatus.PENDING
    assert status == "pending"
    assert str(status) == "TaskStatus.PENDING"


def test_four_statuses_are_terminal() -> None:
    assert {status.value for status in TaskStatus if status.is_terminal} == {
        "completed",
        "failed",
        "cancelled",
        "expired",
    }


def test_a_time_is_utc() -> None:
    event = TaskEvent(
        seq=1, at_ms=1_500, kind=EventKind.RETRY_SCHEDULED, task_id="a", key=1, retry_at_ms=2_000
    )
    assert event.at == datetime(1970, 1, 1, 0, 0, 1, 500_000, tzinfo=UTC)
    assert event.retry_at == datetime(1970, 1, 1, 0, 0, 2, tzinfo=UTC)


@pytest.mark.parametrize(
    ("amount", "shown"),
    [
        (0, "0 B"),
        (999, "999 B"),
        (1_000, "1.0 kB"),
        (999_949, "999.9 kB"),
        (999_950, "1.0 MB"),
        (3_400_000, "3.4 MB"),
        (7e9, "7.0 GB"),
        (2e15, "2000.0 TB"),
    ],
)
def test_amounts_are_decimal(amount: float, shown: str) -> None:
    assert bytes_human(amount) == shown


@pytest.mark.parametrize(
    ("duration_ms", "shown"),
    [
        (0, "0 s"),
        (1, "1 s"),
        (59_000, "59 s"),
        (59_001, "1 min 00 s"),
        (65_000, "1 min 05 s"),
        (3_600_000, "1 h 00 min"),
        (360_000_000, "100 h 00 min"),
    ],
)
def test_durations_show_two_units(duration_ms: int, shown: str) -> None:
    assert duration_human(duration_ms) == shown


def test_progress_says_so_when_it_does_not_know() -> None:
    progress = TaskProgress(
        task_id="a",
        key=1,
        percent=0,
        bytes_sent=0,
        bytes_acknowledged=0,
        bytes_total=9,
        rate_bytes_per_s=1_500.0,
    )
    assert (progress.rate_human, progress.remaining_human) == ("1.5 kB/s", "unknown")


def test_stats_add_up() -> None:
    stats = Stats(pending=1, running=2, paused=4, blocked=8, completed=16, failed=32, expired=64)
    assert (stats.live, stats.finished) == (15, 112)
