"""Opening, closing and opening again, at once and on loops that are gone."""

from __future__ import annotations

import asyncio
import gc
import threading
import weakref
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import uvloop

from outhaul import PythonWorker, RetryPolicy, TaskContext, TaskHandle, WorkManager
from outhaul.bridge import Bridge
from outhaul.errors import ManagerClosedError


async def echo(value: object, _: object) -> object:
    return value


async def does_its_work(manager: WorkManager) -> bool | None:
    task = await manager.enqueue(None, PythonWorker("echo"), retry=RetryPolicy.NONE)
    return (await asyncio.wait_for(task.result(), 5)).success


class Lingering:
    """A callback that takes a moment to end once it is stopped."""

    def __init__(self) -> None:
        self.begun = asyncio.Event()
        self.is_ended = False

    async def __call__(self, _: object, __: TaskContext) -> None:
        self.begun.set()
        try:
            await asyncio.Event().wait()
        finally:
            await asyncio.sleep(0.05)
            self.is_ended = True


async def test_of_two_openings_at_once_one_is_refused_and_nothing_is_left_of_it(
    tmp_path: Path,
) -> None:
    manager = WorkManager(tmp_path / "w.db", workers={"echo": echo})
    opened = await asyncio.gather(
        manager.__aenter__(), manager.__aenter__(), return_exceptions=True
    )
    assert opened[0] is manager
    assert isinstance(opened[1], ManagerClosedError)
    await manager.close()
    async with WorkManager(tmp_path / "w.db", workers={"echo": echo}) as another:
        assert await does_its_work(another)  # nobody holds the runner's lock


async def test_an_opening_waits_for_a_close_that_is_under_way(tmp_path: Path) -> None:
    lingering = Lingering()
    manager = WorkManager(tmp_path / "w.db", workers={"echo": echo, "lingering": lingering})
    async with manager:
        task = await manager.enqueue(None, PythonWorker("lingering"))
        await lingering.begun.wait()
        closing = asyncio.ensure_future(manager.close())
        await asyncio.sleep(0)
        async with manager:
            assert lingering.is_ended
            assert closing.done()
            assert await does_its_work(manager)
            await manager.cancel(task.task_id)


async def test_every_close_waits_for_the_first_and_it_goes_on_where_that_is_cancelled(
    tmp_path: Path,
) -> None:
    lingering = Lingering()
    async with WorkManager(tmp_path / "w.db", workers={"lingering": lingering}) as manager:
        await manager.enqueue("x", PythonWorker("lingering"))
        await lingering.begun.wait()
        closing = [asyncio.ensure_future(manager.close()) for _ in range(3)]
        await asyncio.sleep(0)
        closing[0].cancel()
        await asyncio.gather(*closing, return_exceptions=True)
        assert closing[0].cancelled()
        assert lingering.is_ended


async def test_a_close_during_the_opening_closes_what_is_opened(tmp_path: Path) -> None:
    manager = WorkManager(tmp_path / "w.db")
    opening = asyncio.ensure_future(manager.__aenter__())
    await asyncio.sleep(0)
    await manager.close()
    assert await opening is manager
    assert not manager.is_open


async def test_a_callback_may_close_its_manager(tmp_path: Path) -> None:
    manager = WorkManager(tmp_path / "w.db")
    called = asyncio.Event()

    @manager.worker("closes")
    async def closes(_: object, __: TaskContext) -> None:
        called.set()
        await manager.close()

    async with manager:
        await manager.enqueue("x", PythonWorker("closes"))
        await asyncio.wait_for(called.wait(), 5)
        await manager.close()
    assert not manager.is_open


@pytest.mark.parametrize("loops", [asyncio.new_event_loop, uvloop.new_event_loop])
@pytest.mark.parametrize("then", ["closed", "opened again"])
def test_a_manager_whose_loop_was_closed_can_be(
    tmp_path: Path, then: str, loops: Callable[[], asyncio.AbstractEventLoop]
) -> None:
    manager = WorkManager(tmp_path / "w.db", workers={"echo": echo})

    async def open_only() -> None:
        await manager.__aenter__()

    async def go_on() -> None:
        if then == "closed":
            await manager.close()
            assert not manager.is_open
        async with manager:
            assert await does_its_work(manager)

    with asyncio.Runner(loop_factory=loops) as runner:
        runner.run(open_only())
    assert manager.is_open
    with asyncio.Runner(loop_factory=loops) as runner:
        runner.run(go_on())


async def test_a_close_that_is_cancelled_again_and_again_leaves_no_thread(tmp_path: Path) -> None:
    def plain(_: object, __: TaskContext) -> None:
        """Has had a thread."""

    lingering = Lingering()
    workers: dict[str, Callable[..., Any]] = {"plain": plain, "lingering": lingering}
    manager = await WorkManager(tmp_path / "w.db", workers=workers).__aenter__()
    await (await manager.enqueue(None, PythonWorker("plain"))).result()
    await manager.enqueue("x", PythonWorker("lingering"))
    await lingering.begun.wait()
    before = asyncio.all_tasks()
    closing = asyncio.ensure_future(manager.close())
    await asyncio.sleep(0)
    (inner,) = asyncio.all_tasks() - before - {closing}
    while not inner.done():
        await asyncio.sleep(0)  # it has begun
        inner.cancel()
    await asyncio.gather(closing, return_exceptions=True)
    async with asyncio.timeout(5):
        while any("outhaul-callback" in thread.name for thread in threading.enumerate()):
            await asyncio.sleep(0.001)


class Service:
    """What many programs look like: its callback is a method, and it keeps a handle."""

    def __init__(self, path: Path) -> None:
        self.manager = WorkManager(path, workers={"echo": self.echo})
        self.last: TaskHandle | None = None

    async def echo(self, value: object, _: TaskContext) -> object:
        return value

    async def use(self) -> None:
        async with self.manager:
            self.last = await self.manager.enqueue(None, PythonWorker("echo"))
            await self.last.result()


async def test_a_closed_manager_is_freed_although_its_callback_reaches_a_handle(
    tmp_path: Path,
) -> None:
    service = Service(tmp_path / "w.db")
    await service.use()
    freed = weakref.ref(service)
    del service
    gc.collect()
    assert freed() is None


async def test_a_handle_keeps_nothing_of_the_core_once_its_manager_is_closed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Else every opening would cost a descriptor and a thread for as long as a handle is kept."""
    bridges: list[Bridge] = []
    init = Bridge.__init__

    def noted(self: Bridge, *args: object) -> None:
        bridges.append(self)
        init(self, *args)  # type: ignore[arg-type]

    monkeypatch.setattr(Bridge, "__init__", noted)
    async with WorkManager(tmp_path / "w.db", workers={"echo": echo}) as manager:
        handle = await manager.enqueue(None, PythonWorker("echo"))
        core = type(bridges[0].core)
    assert not [each for each in gc.get_referents(bridges[0].__dict__) if isinstance(each, core)]
    with pytest.raises(ManagerClosedError):
        await handle.status()
