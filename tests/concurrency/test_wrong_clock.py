"""A clock that was wrong, and is right again at the next start."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from pathlib import Path

from outhaul import (
    EventKind,
    PythonWorker,
    RetryPolicy,
    TaskContext,
    TaskStatus,
    TaskTrigger,
    WorkManager,
)
from outhaul.testing import FakeClock

NOW = datetime(2026, 12, 1, tzinfo=UTC)
AHEAD = NOW + timedelta(days=3650)
HOUR = TaskTrigger.one_time(timedelta(hours=1))


def echo(value: int, _: TaskContext) -> int:
    return value


async def test_it_is_set_right_once_and_not_at_every_start(tmp_path: Path) -> None:
    store, worker = tmp_path / "work.db", PythonWorker("echo", 7)
    async with WorkManager(
        store, clock=FakeClock(AHEAD), run=False, workers={"echo": echo}
    ) as wrong:
        await wrong.enqueue("in an hour", worker, trigger=HOUR)
    for minutes in (0, 20, 40):
        clock = FakeClock(NOW + timedelta(minutes=minutes))
        async with WorkManager(store, clock=clock, workers={"echo": echo}) as manager:
            await manager.wait_idle()
            record = await manager.get_task("in an hour")
            assert record is not None
            assert record.run_at == NOW + timedelta(hours=1)


async def test_a_retry_under_a_clock_that_was_wrong_waits_no_longer_than_its_policy_says(
    tmp_path: Path,
) -> None:
    """Whether it was enqueued under the wrong clock, or only failed under it."""

    def fails(_: int, __: TaskContext) -> int:
        raise ValueError("not now")

    store, worker = tmp_path / "work.db", PythonWorker("fails", 7)
    hourly = RetryPolicy(max_retries=9, initial_delay=3600, max_delay=3600)
    right = FakeClock(NOW)
    async with WorkManager(store, clock=right, workers={"fails": fails}, run=False) as early:
        await early.enqueue("healthy", worker, retry=hourly)
    wrong = FakeClock(AHEAD)
    async with WorkManager(store, clock=wrong, workers={"fails": fails}) as manager:
        late = await manager.enqueue("late", worker, retry=hourly)
        for attempt in (1, 2, 3):
            async for event in late.events():
                if event.kind is EventKind.RETRY_SCHEDULED and event.attempt == attempt:
                    break
            wrong.advance(timedelta(minutes=67))  # with what may be added
        await manager.wait_idle()
    async with WorkManager(store, clock=FakeClock(NOW), workers={"fails": fails}) as manager:
        for name in ("healthy", "late"):
            record = await manager.get_task(name)
            assert record is not None
            assert record.run_at is not None
            assert record.run_at <= NOW + timedelta(minutes=67), name


async def test_what_was_enqueued_in_the_future_waits_no_longer_than_it_was_to(
    tmp_path: Path,
) -> None:
    store, worker = tmp_path / "work.db", PythonWorker("echo", 7)
    async with WorkManager(
        store, clock=FakeClock(AHEAD), run=False, workers={"echo": echo}
    ) as wrong:
        await wrong.enqueue("at once", worker)
        await wrong.enqueue("in an hour", worker, trigger=HOUR)
    async with WorkManager(store, clock=FakeClock(NOW), run=False, workers={"echo": echo}) as right:
        healthy = await right.enqueue("healthy", worker, trigger=HOUR)
    clock = FakeClock(NOW)
    async with WorkManager(store, clock=clock, workers={"echo": echo}) as manager:
        await manager.wait_idle()
        done = await manager.list_tasks(statuses=[TaskStatus.COMPLETED])
        assert [task.task_id for task in done] == ["at once"]
        clock.advance(timedelta(minutes=59))
        await manager.wait_idle()
        assert (await manager.stats()).completed == 1
        clock.advance(timedelta(minutes=1))
        handle = await manager.get_handle(healthy.task_id)
        assert handle is not None
        assert (await handle.result()).success
        await manager.wait_idle()
        assert (await manager.stats()).completed == 3
