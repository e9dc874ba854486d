"""How long what has ended is kept: done and failed each as long as it is to be."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest

from outhaul import PermanentFailure, PythonWorker, Retention, TaskContext, TaskTrigger, WorkManager
from outhaul.errors import InvalidTypeError

LATER = TaskTrigger.one_time(3600)


async def bad(_: object, __: TaskContext) -> None:
    raise PermanentFailure("it is bad")


async def good(_: object, __: TaskContext) -> None:
    """It is done."""


@pytest.mark.parametrize(
    ("keep", "left"),
    [
        pytest.param(Retention(completed=0, failed=3600), "failed", id="the failed"),
        pytest.param(Retention(completed=3600, failed=0), "completed", id="the completed"),
    ],
)
async def test_what_has_failed_and_what_is_done_are_kept_each_for_its_time(
    tmp_path: Path, keep: Retention, left: str
) -> None:
    workers = {"good": good, "bad": bad}
    async with WorkManager(tmp_path / "w.db", workers=workers, durability="os") as manager:
        await manager.enqueue("completed", PythonWorker("good"))
        await manager.enqueue("failed", PythonWorker("bad"))
        await manager.wait_idle()
        await manager.enqueue("waits", PythonWorker("good"), trigger=LATER)
    async with WorkManager(tmp_path / "w.db", workers="elsewhere", retention=keep) as manager:
        async with asyncio.timeout(5):
            while len(found := await manager.get_tasks_by_status()) > 2:
                await asyncio.sleep(0.01)
        assert {record.task_id for record in found} == {left, "waits"}


async def test_a_store_that_is_only_opened_for_moments_is_cleaned_too(tmp_path: Path) -> None:
    keep = Retention(completed=0, completed_max=0, failed=0)
    for number in range(9):
        async with WorkManager(
            tmp_path / "w.db", workers={"good": good}, retention=keep
        ) as manager:
            await (await manager.enqueue(f"task {number}", PythonWorker("good"))).result()
    async with WorkManager(tmp_path / "w.db", run=False) as manager:
        assert (await manager.stats()).completed <= 2  # of the last openings


def test_two_that_keep_the_same_are_equal_and_say_what_they_keep() -> None:
    assert Retention(completed=60) == Retention(completed=60.0) != Retention(completed=61)
    assert len({Retention(), Retention()}) == 1
    assert "completed_max=5" in repr(Retention(completed_max=5))


def test_an_argument_that_does_not_exist_is_refused_with_the_one_that_is_meant() -> None:
    with pytest.raises(InvalidTypeError, match="did you mean failed"):
        Retention(faild=5)  # type: ignore[arg-type]  # what is tested
