"""A manager whose event loop is closed under it, or that another loop wants at the wrong moment."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine
from pathlib import Path
from typing import Any

import pytest

from outhaul import (
    NativeWorker,
    PythonWorker,
    RetryPolicy,
    Secret,
    TaskContext,
    TaskEvent,
    TaskHandle,
    WorkManager,
)
from outhaul.errors import ManagerClosedError, WrongLoopError
from outhaul.testing import FakeSignals


def run_and_close_under_it(work: Coroutine[Any, Any, None]) -> None:
    """Runs `work` on a loop of its own, which is closed with what else is under way on it."""
    loop = asyncio.new_event_loop()
    loop.run_until_complete(work)
    for left in asyncio.all_tasks(loop):
        left._log_destroy_pending = False  # type: ignore[attr-defined]  # it is so on purpose
    loop.close()


class HangsOnce:
    """User code that never ends the first time it is called."""

    def __init__(self) -> None:
        self.calls = 0
        self.begun = asyncio.Event()

    async def __call__(self) -> str:
        self.calls += 1
        if self.calls == 1:
            self.begun.set()
            await asyncio.Event().wait()
        return "hunter22"


@pytest.mark.parametrize("kind", ["a callback", "a provider"])
def test_what_ran_when_the_loop_was_closed_runs_again_on_the_next(
    tmp_path: Path, kind: str
) -> None:
    hangs_once = HangsOnce()

    async def callback(_: object, __: TaskContext) -> None:
        await hangs_once()

    async def provider() -> str:
        return await hangs_once()

    path = tmp_path / "a.txt"
    path.write_bytes(b"hello")
    manager = WorkManager(
        tmp_path / "w.db", workers={"work": callback}, secrets={"vault": provider}
    )

    given: list[TaskHandle] = []
    waiting: list[asyncio.Future[TaskEvent]] = []  # for what nobody will be told

    async def begin() -> None:
        await manager.__aenter__()
        headers = {"X-Api-Key": Secret.provider("vault")}
        upload = NativeWorker.http_upload(
            url="http://127.0.0.1:1/", file_path=path, headers=headers
        )
        worker = PythonWorker("work") if kind == "a callback" else upload
        task = await manager.enqueue("x", worker, retry=RetryPolicy.NONE)
        given.append(task)
        waiting.append(asyncio.ensure_future(task.result()))
        await asyncio.wait_for(hangs_once.begun.wait(), 5)

    async def go_on() -> None:
        async with manager:
            with pytest.raises(ManagerClosedError):
                await given[0].status()
            async with asyncio.timeout(5):
                while hangs_once.calls < 2:
                    await asyncio.sleep(0.01)
            task = await manager.get_handle("x")
            assert task is not None
            if kind == "a callback":
                assert (await asyncio.wait_for(task.result(), 5)).success

    run_and_close_under_it(begin())
    asyncio.run(go_on())


class LateSignals(FakeSignals):
    """Tell nothing before they are let."""

    is_let = False

    def start(self, loop: asyncio.AbstractEventLoop, on_change: Callable[[int], None]) -> None:
        super().start(loop, on_change if self.is_let else lambda _: None)


def test_a_manager_whose_loop_was_closed_while_it_opened_can_be_opened(tmp_path: Path) -> None:
    signals = LateSignals()
    manager = WorkManager(tmp_path / "w.db", signals=signals)
    opening: list[asyncio.Future[WorkManager]] = []

    async def begin() -> None:
        opening.append(asyncio.ensure_future(manager.__aenter__()))
        await asyncio.sleep(0)

    async def go_on() -> None:
        async with manager:
            assert (await manager.stats()).live == 0

    run_and_close_under_it(begin())
    assert not opening[0].done()
    signals.is_let = True
    asyncio.run(go_on())


async def test_a_manager_that_is_being_opened_is_neither_opened_nor_closed_on_another_loop(
    tmp_path: Path,
) -> None:
    signals = LateSignals()
    manager = WorkManager(tmp_path / "w.db", signals=signals)
    opening = asyncio.ensure_future(manager.__aenter__())
    await asyncio.sleep(0)
    for asked in (manager.__aenter__(), manager.close()):
        with pytest.raises(WrongLoopError):
            await asyncio.to_thread(asyncio.run, asked)
    opening.cancel()
    await asyncio.gather(opening, return_exceptions=True)
    assert not manager.is_open
    signals.is_let = True
    async with manager:
        assert manager.is_open
