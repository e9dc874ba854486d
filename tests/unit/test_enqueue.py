"""One id has one live task, however it comes: by itself, described before, or often in one call."""

from __future__ import annotations

from datetime import timedelta
from pathlib import Path

import pytest
from msgspec.structs import replace

from outhaul import PythonWorker, ScheduleResult, Task, TaskContext, TaskTrigger, WorkManager

LATER = TaskTrigger.one_time(timedelta(hours=1))


async def nothing(_: object, __: TaskContext) -> None:
    """Never runs."""


@pytest.mark.parametrize("before", [0, 1])
@pytest.mark.parametrize(
    ("policies", "answers"),
    [
        pytest.param(["keep"] * 4, ["accepted", "kept", "kept", "kept"], id="all keep"),
        pytest.param(["replace"] * 3, ["accepted"] * 3, id="each replaces the one before"),
        pytest.param(["keep", "keep", "replace", "keep"], ["accepted", "kept", "accepted", "kept"]),
    ],
)
async def test_an_id_that_comes_more_than_once_is_judged_in_order(
    tmp_path: Path, before: int, policies: list[str], answers: list[str]
) -> None:
    def task(policy: str) -> Task:
        return Task("x", PythonWorker("nothing"), trigger=LATER, existing_policy=policy)

    async with WorkManager(tmp_path / "w.db", workers={"nothing": nothing}) as manager:
        await manager.enqueue_all([task("keep")] * before)
        handles = await manager.enqueue_all([task(policy) for policy in policies])
        if before and policies[0] == "keep":
            answers = ["kept", *answers[1:]]
        assert [handle.schedule_result.value for handle in handles] == answers
        assert (await manager.stats()).live == 1
        newest = await manager.get_handle("x")
        assert newest is not None
        assert await newest.status() == "pending"


async def test_a_task_described_before_is_stored_like_one_described_now(tmp_path: Path) -> None:
    worker = PythonWorker("nothing", {"width": 64})
    async with WorkManager(tmp_path / "w.db", workers={"nothing": nothing}) as manager:
        before = Task("x", worker, trigger=LATER, tag="photos", priority=3)
        assert (await manager.enqueue_task(before)).schedule_result is ScheduleResult.ACCEPTED
        await manager.enqueue("y", worker, trigger=LATER, tag="photos", priority=3)
        described, now = await manager.get_task("x"), await manager.get_task("y")
        assert described is not None
        assert now is not None
        assert (described.tag, described.priority) == ("photos", 3)
        own = {at: getattr(now, at) for at in ("task_id", "key", "created_at_ms", "run_at_ms")}
        assert replace(described, **own) == now
        again = await manager.enqueue_task(before)
        assert (again.schedule_result, again.key) == (ScheduleResult.KEPT, described.key)
