"""Callbacks that are cut short, by us, by somebody else, by themselves: what is an attempt."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from outhaul import (
    Constraints,
    EventKind,
    NetworkType,
    PythonWorker,
    RetryPolicy,
    TaskContext,
    TaskStatus,
    WorkManager,
)
from outhaul.testing import FakeClock, FakeSignals


@pytest.fixture
async def manager(tmp_path: Path) -> AsyncIterator[WorkManager]:
    async with WorkManager(tmp_path / "work.db", durability="os") as manager:
        yield manager


async def test_a_cancellation_of_its_own_is_an_attempt_that_counts(manager: WorkManager) -> None:
    """Else it would be made again at once, for ever."""

    @manager.worker("work")
    async def work(_: object, __: TaskContext) -> None:
        gone = asyncio.get_running_loop().create_future()
        gone.cancel()
        await gone

    policy = RetryPolicy(max_retries=1, initial_delay=0)
    event = await (await manager.enqueue("x", PythonWorker("work"), retry=policy)).result()
    assert (event.kind, event.attempt) == (EventKind.FAILED, 2)
    assert "cancelled" in event.message


@pytest.mark.parametrize("often", [1, 2, 1000])
async def test_a_cancellation_from_without_is_no_attempt_unless_it_comes_again(
    manager: WorkManager, often: int
) -> None:
    """A program that ends cancels all it has; a callback that cancels itself does so each time."""
    calls = 0

    @manager.worker("work")
    async def work(_: object, __: TaskContext) -> None:
        nonlocal calls
        calls += 1
        this = asyncio.current_task()
        assert this is not None
        if calls <= often:
            asyncio.get_running_loop().call_soon(this.cancel)
            await asyncio.sleep(5)

    task = await manager.enqueue("x", PythonWorker("work"), retry=RetryPolicy.NONE)
    event = await task.result()
    assert calls == 2
    assert event.kind is (EventKind.COMPLETED if often == 1 else EventKind.FAILED)


async def test_an_attempt_that_is_stopped_by_us_is_never_counted(tmp_path: Path) -> None:
    signals, calls = FakeSignals(), asyncio.Queue[int]()

    stops = 3

    async def work(_: object, ctx: TaskContext) -> None:
        calls.put_nowait(ctx.attempt)
        await asyncio.sleep(30 if stops else 0)

    workers = {"work": work}
    async with WorkManager(tmp_path / "w.db", workers=workers, signals=signals) as manager:
        task = await manager.enqueue(
            "x",
            PythonWorker("work"),
            constraints=Constraints(network_type=NetworkType.CONNECTED),
            retry=RetryPolicy.NONE,
        )
        while stops:
            await asyncio.wait_for(calls.get(), 5)
            stops -= 1
            signals.set_network(up=False)
            while await task.status() is not TaskStatus.PENDING:
                await asyncio.sleep(0.01)
            signals.set_network(up=True)
        assert (await asyncio.wait_for(task.result(), 5)).success


async def test_one_that_ran_when_the_manager_closed_runs_again_and_counts_no_attempt(
    tmp_path: Path,
) -> None:
    clock, begun = FakeClock(), asyncio.Event()

    async def hangs(_: object, __: TaskContext) -> None:
        begun.set()
        await asyncio.Event().wait()

    async def ends(_: object, __: TaskContext) -> str:
        return "ended"

    path = tmp_path / "w.db"
    async with WorkManager(path, workers={"work": hangs}, clock=clock) as manager:
        task = await manager.enqueue("x", PythonWorker("work"), retry=RetryPolicy.NONE)
        await begun.wait()
    async with WorkManager(path, workers={"work": ends}, clock=clock) as manager:
        again = await manager.get_handle("x")
        assert again is not None
        assert (await again.result()).success
        kinds = [event.kind async for event in again.events()]
    assert EventKind.INTERRUPTED in kinds
    assert task.key == again.key
