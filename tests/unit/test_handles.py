"""A handle is its task, whichever enqueue gave it; and progress that is left leaves nothing."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, AsyncIterator
from contextlib import aclosing
from pathlib import Path
from typing import cast

import pytest

from outhaul import (
    NativeWorker,
    PythonWorker,
    ScheduleResult,
    TaskProgress,
    TaskTrigger,
    WorkManager,
)
from outhaul.testing import Answer, FakeClock, FlakyServer

LATER = TaskTrigger.one_time(3600)


@pytest.fixture
async def manager(tmp_path: Path) -> AsyncIterator[WorkManager]:
    async with WorkManager(tmp_path / "w.db", workers="elsewhere", durability="os") as manager:
        yield manager


async def test_a_handle_equals_those_of_its_task_alone(manager: WorkManager) -> None:
    task, again, other = [
        await manager.enqueue(name, PythonWorker("echo"), trigger=LATER) for name in "aab"
    ]
    assert (task == again, task == other, task == 5) == (True, False, False)
    assert len({task, again, other}) == 2


async def test_a_handle_is_its_task_also_after_the_manager_was_opened_again(
    manager: WorkManager,
) -> None:
    task = await manager.enqueue("a", PythonWorker("echo"), trigger=LATER)
    await manager.close()
    async with manager:
        again = await manager.get_handle("a")
    assert task == again


async def test_handles_are_unequal_where_they_are_not_equal(manager: WorkManager) -> None:
    task, again, other = [
        await manager.enqueue(name, PythonWorker("echo"), trigger=LATER) for name in "aab"
    ]
    assert (task != again, task != other, task != 5) == (False, True, True)
    with pytest.raises(TypeError, match=r"handle\.schedule_result"):
        _ = task != "accepted"


@pytest.mark.parametrize("word", [ScheduleResult.ACCEPTED, "accepted"], ids=["member", "string"])
async def test_a_handle_that_is_compared_with_what_became_of_its_enqueue_is_a_mistake(
    manager: WorkManager, word: object
) -> None:
    task = await manager.enqueue("a", PythonWorker("echo"), trigger=LATER)
    with pytest.raises(TypeError, match=r"handle\.schedule_result"):
        _ = task == word


async def test_a_handle_that_is_asked_for_says_that_its_task_was_there(
    manager: WorkManager,
) -> None:
    task = await manager.enqueue("a", PythonWorker("echo"), trigger=LATER)
    found = await manager.get_handle("a")
    assert found is not None
    assert found == task
    assert (found.task_id, found.key, found.schedule_result) == ("a", task.key, ScheduleResult.KEPT)
    assert await manager.get_handle("b") is None


async def test_progress_that_is_left_leaves_no_question(
    manager: WorkManager, tmp_path: Path
) -> None:
    path = tmp_path / "large.bin"
    path.write_bytes(bytes(1_000_000))
    async with FlakyServer(script=[Answer(delay_s=30)]) as server:
        task = await manager.enqueue("x", NativeWorker.http_upload(url=server.url, file_path=path))
        progress = cast("AsyncGenerator[TaskProgress]", task.progress())
        async with asyncio.timeout(5), aclosing(progress):
            await anext(progress)
        await server.wait_requests()
        assert not manager._here()._waiting


async def test_tasks_of_two_stores_are_never_equal(tmp_path: Path) -> None:
    """Their keys are, where they were made in the same millisecond."""
    one, two = [
        WorkManager(tmp_path / name, workers="elsewhere", clock=FakeClock()) for name in ("1", "2")
    ]
    async with one, two:
        task, another = [
            await manager.enqueue("a", PythonWorker("echo"), trigger=LATER)
            for manager in (one, two)
        ]
        assert task.key == another.key
        assert task != another
