"""A manager that was just opened: what its host is like has to be found out first."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from pathlib import Path

from outhaul import Constraints, NetworkType, PythonWorker, TaskStatus, WorkManager
from outhaul.testing import FakeSignals


async def echo(value: object, _: object) -> object:
    return value


class SlowSignals(FakeSignals):
    """A host that takes its time to find out what it is like."""

    def start(self, loop: asyncio.AbstractEventLoop, on_change: Callable[[int], None]) -> None:
        loop.call_later(0.3, super().start, loop, on_change)


async def test_what_waits_for_a_network_is_not_idle_before_the_host_is_known(
    tmp_path: Path,
) -> None:
    path, workers = tmp_path / "w.db", {"echo": echo}
    needs = Constraints(network_type=NetworkType.CONNECTED)
    async with WorkManager(path, workers=workers, run=False) as manager:
        await manager.enqueue("x", PythonWorker("echo", 5), constraints=needs)
    async with WorkManager(path, workers=workers, signals=SlowSignals()) as manager:
        await manager.wait_idle()
        record = await manager.get_task("x")
    assert record is not None
    assert record.status is TaskStatus.COMPLETED


async def test_no_callback_runs_before_the_manager_is_open(tmp_path: Path) -> None:
    path = tmp_path / "w.db"
    async with WorkManager(path, workers="elsewhere") as manager:
        await manager.enqueue("x", PythonWorker("work"))
    open_managers: list[WorkManager] = []
    found: list[int] = []

    async def work(_: object, __: object) -> None:
        found.append(len(open_managers))

    async with WorkManager(path, workers={"work": work}, signals=SlowSignals()) as manager:
        open_managers.append(manager)
        await manager.wait_idle()
    assert found == [1]


async def test_a_host_that_tells_nothing_does_not_keep_the_manager_from_opening(
    tmp_path: Path,
) -> None:
    class Silent(FakeSignals):
        def start(self, loop: object, on_change: object) -> None:
            pass

    workers = {"echo": echo}
    async with WorkManager(tmp_path / "w.db", workers=workers, signals=Silent()) as manager:
        handle = await manager.enqueue(None, PythonWorker("echo", 5))
        assert (await asyncio.wait_for(handle.result(), 5)).success
