"""A manager is opened once, closed where it was opened, and leaves nothing behind if it cannot."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from pathlib import Path

import pytest

from outhaul import PythonWorker, TaskContext, WorkManager
from outhaul.errors import InternalError, ManagerClosedError, StoreError, WrongLoopError
from outhaul.testing import FakeClock, FakeSignals


async def echo(value: object, _: TaskContext) -> object:
    return value


async def works(manager: WorkManager) -> bool:
    task = await manager.enqueue(None, PythonWorker("echo", 5))
    return (await asyncio.wait_for(task.result(), 5)).success is True


async def test_a_manager_that_is_open_is_not_opened_again(tmp_path: Path) -> None:
    async with WorkManager(tmp_path / "w.db", workers={"echo": echo}) as manager:
        with pytest.raises(ManagerClosedError, match="already open"):
            await manager.__aenter__()
        assert manager.is_open
        assert await works(manager)


class NoClock(FakeClock):
    """One that cannot start."""

    def start(self, on_move: Callable[[], None]) -> None:  # noqa: ARG002 — as it is called
        raise OSError("no clock")


async def test_a_clock_that_cannot_start_leaves_nothing_open(tmp_path: Path) -> None:
    manager = WorkManager(tmp_path / "w.db", clock=NoClock())
    with pytest.raises(OSError, match="no clock"):
        await manager.__aenter__()
    assert not manager.is_open
    async with WorkManager(tmp_path / "w.db", workers={"echo": echo}) as another:
        assert await works(another)  # nobody else runs what is in the store


class Watched(FakeSignals):
    """Signals that say whether anybody watches them."""

    is_watched = False

    def start(self, loop: asyncio.AbstractEventLoop, on_change: Callable[[int], None]) -> None:
        self.is_watched = True
        super().start(loop, on_change)

    def close(self) -> None:
        self.is_watched = False
        super().close()


async def test_a_store_that_cannot_be_opened_leaves_nobody_watching_the_host(
    tmp_path: Path,
) -> None:
    signals = Watched()
    manager = WorkManager(tmp_path / "nowhere" / "w.db", signals=signals)
    with pytest.raises(StoreError):
        await manager.__aenter__()
    assert not signals.is_watched
    assert not manager.is_open
    (tmp_path / "nowhere").mkdir()
    async with manager:
        assert signals.is_watched
    assert not signals.is_watched


async def test_a_manager_is_closed_on_its_own_loop_only(tmp_path: Path) -> None:
    async with WorkManager(tmp_path / "w.db", workers={"echo": echo}) as manager:
        with pytest.raises(WrongLoopError):
            await asyncio.to_thread(asyncio.run, manager.close())
        assert manager.is_open
        assert await works(manager)


async def test_a_manager_whose_core_is_broken_can_be_closed(tmp_path: Path) -> None:
    async with WorkManager(tmp_path / "w.db") as manager:
        manager._here()._break(InternalError("a thread ended"))
        with pytest.raises(InternalError, match="a thread ended"):
            await manager.stats()
    assert not manager.is_open
    with pytest.raises(ManagerClosedError):
        await manager.stats()
