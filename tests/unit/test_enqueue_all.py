"""One id has one live task, however often it comes in one call."""

from __future__ import annotations

from datetime import timedelta
from pathlib import Path

import pytest

from outhaul import PythonWorker, Task, TaskContext, TaskTrigger, WorkManager

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
