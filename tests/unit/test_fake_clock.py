"""Time stands still until a test moves it, and open managers notice."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta, timezone
from pathlib import Path
from typing import Any

import pytest

from outhaul import EventKind, PythonWorker, TaskContext, TaskStatus, TaskTrigger, WorkManager
from outhaul.errors import InvalidArgumentError, InvalidTypeError
from outhaul.testing import FakeClock

CEST = timezone(timedelta(hours=2))


async def echo(value: Any, _: TaskContext) -> Any:  # noqa: ANN401 — whatever was enqueued
    return value


def test_it_stands_where_it_is_told_and_moves_both_ways() -> None:
    clock = FakeClock(datetime(2026, 6, 1, 14, tzinfo=CEST))
    assert clock.now == datetime(2026, 6, 1, 12, tzinfo=UTC)
    clock.advance(timedelta(hours=1))
    clock.advance(1.5)
    clock.jump(-timedelta(hours=1))
    assert clock.now == datetime(2026, 6, 1, 12, 0, 1, 500_000, tzinfo=UTC)
    assert clock.now_ms == clock.now.timestamp() * 1000


@pytest.mark.parametrize(
    ("argument", "wrong"),
    [
        pytest.param("by", lambda: FakeClock().advance(-1), id="time does not go back"),
        pytest.param("start", lambda: FakeClock(datetime(2026, 1, 1)), id="a zone is missing"),  # noqa: DTZ001 — the point
        pytest.param("start", lambda: FakeClock(0), id="a number is no datetime"),  # type: ignore[arg-type]
        pytest.param("by", lambda: FakeClock().jump("5"), id="text is no time"),  # type: ignore[arg-type]
        pytest.param("by", lambda: FakeClock().jump(-1e9), id="a jump is at most ten years"),
    ],
)
def test_a_wrong_time_is_refused(argument: str, wrong: Any) -> None:  # noqa: ANN401 — a lambda
    with pytest.raises((InvalidArgumentError, InvalidTypeError)) as refused:
        wrong()
    assert refused.value.argument == argument


async def test_a_delayed_task_runs_when_its_time_has_come_and_not_before(tmp_path: Path) -> None:
    clock = FakeClock()
    async with WorkManager(tmp_path / "work.db", clock=clock, workers={"echo": echo}) as manager:
        delay = TaskTrigger.one_time(timedelta(days=365))
        task = await manager.enqueue("later", PythonWorker("echo", 7), trigger=delay)
        clock.advance(timedelta(days=365) - timedelta(milliseconds=1))
        await manager.wait_idle()
        assert await task.status() is TaskStatus.PENDING
        clock.advance(0.001)
        event = await task.result()
        assert event.kind is EventKind.COMPLETED
        assert event.at == clock.now


async def test_a_closed_manager_is_let_go(tmp_path: Path) -> None:
    clock = FakeClock()
    for _ in range(2):
        async with WorkManager(tmp_path / "work.db", clock=clock):
            assert len(clock._on_move) == 1
            clock.advance(1)
        assert clock._on_move == []
        clock.advance(1)
