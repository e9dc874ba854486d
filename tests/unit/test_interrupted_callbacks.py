"""Callbacks that are cut short, by us, by somebody else, by themselves: what is an attempt."""

from __future__ import annotations

import asyncio
import threading
import time
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from outhaul import EventKind, PythonWorker, RetryPolicy, TaskContext, WorkManager


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


async def test_one_that_ran_when_the_manager_closed_runs_again_and_counts_no_attempt(
    tmp_path: Path,
) -> None:
    """However often: the same manager is opened again."""
    begun, closes = asyncio.Event(), 3

    async def work(_: object, __: TaskContext) -> None:
        begun.set()
        await asyncio.sleep(30 if closes else 0)

    manager = WorkManager(tmp_path / "w.db", workers={"work": work})
    async with manager:
        task = await manager.enqueue("x", PythonWorker("work"), retry=RetryPolicy.NONE)
        await asyncio.wait_for(begun.wait(), 5)
    while closes > 1:
        begun.clear()
        closes -= 1
        async with manager:
            await asyncio.wait_for(begun.wait(), 5)
    closes = 0
    async with manager:
        again = await manager.get_handle("x")
        assert again is not None
        assert (await again.result()).success
        kinds = [event.kind async for event in again.events()]
    assert kinds.count(EventKind.INTERRUPTED) == 3
    assert task.key == again.key


async def test_a_function_that_ends_while_the_manager_closes_has_done_its_work(
    tmp_path: Path,
) -> None:
    begun, calls = threading.Event(), 0

    def work(_: object, __: TaskContext) -> str:
        nonlocal calls
        calls += 1
        begun.set()
        time.sleep(0.3)
        return "done"

    manager = WorkManager(tmp_path / "w.db", workers={"work": work})
    async with manager:
        await manager.enqueue("x", PythonWorker("work"))
        await asyncio.to_thread(begun.wait, 5)
    async with manager:
        task = await manager.get_handle("x")
        assert task is not None
        event = await task.result()
    assert (event.kind, event.attempt, calls) == (EventKind.COMPLETED, 1, 1)
