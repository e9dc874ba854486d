"""A callback that is stopped while it runs: the next attempt at its task begins when it has ended.

A thread cannot be stopped, so a plain function runs on after its attempt was given up.
"""

from __future__ import annotations

import asyncio
import threading
from collections.abc import AsyncIterator, Callable, Iterator
from pathlib import Path
from typing import Any, cast

import pytest

from outhaul import (
    Constraints,
    EventKind,
    NetworkType,
    PythonWorker,
    TaskContext,
    TaskHandle,
    WorkManager,
    usercode,
)
from outhaul.bridge import Bridge
from outhaul.callbacks import Callbacks
from outhaul.testing import FakeSignals

ONLINE = Constraints(network_type=NetworkType.CONNECTED)
MOMENT_S = 0.2  # for what must not happen to happen


class Blocking:
    """A plain function that ends when it is let go.

    Attributes:
        begun: Whose function has begun, in order, as (task id, attempt).
        most: How many ran at once.
    """

    def __init__(self) -> None:
        self.begun: list[tuple[str, int]] = []
        self.most = 0
        self._running = 0
        self._changed = threading.Condition()
        self._free = False

    def __call__(self, _: object, ctx: TaskContext) -> None:
        with self._changed:
            self.begun.append((ctx.task_id, ctx.attempt))
            self._running += 1
            self.most = max(self.most, self._running)
            self._changed.notify_all()
            self._changed.wait_for(lambda: self._free, 20)
            self._running -= 1

    def let_go(self) -> None:
        with self._changed:
            self._free = True
            self._changed.notify_all()

    async def wait_begun(self, number: int) -> bool:
        """Whether so many have begun; waits a moment for it."""

        def wait() -> bool:
            with self._changed:
                return self._changed.wait_for(lambda: len(self.begun) >= number, MOMENT_S)

        return await asyncio.to_thread(wait)


@pytest.fixture
def blocking() -> Iterator[Blocking]:
    blocking = Blocking()
    yield blocking
    blocking.let_go()


@pytest.fixture
def signals() -> FakeSignals:
    return FakeSignals()


@pytest.fixture
async def manager(
    tmp_path: Path, blocking: Blocking, signals: FakeSignals
) -> AsyncIterator[WorkManager]:
    path, workers = tmp_path / "work.db", {"blocking": blocking}
    async with WorkManager(path, workers=workers, signals=signals, max_concurrent=2) as manager:
        yield manager
        blocking.let_go()


async def happened(task: TaskHandle, kind: EventKind, attempt: int) -> None:
    async for event in task.events():
        if (event.kind, event.attempt) == (kind, attempt):
            return
    raise AssertionError(f"no {kind} of attempt {attempt}")


async def lost_and_back(task: TaskHandle, signals: FakeSignals) -> None:
    """The network goes away and comes back: the second attempt has begun, as the core sees it."""
    signals.set_network(up=False)
    await happened(task, EventKind.INTERRUPTED, 1)
    signals.set_network(up=True)
    await happened(task, EventKind.STARTED, 2)


async def test_a_function_that_runs_on_after_a_lost_constraint_holds_back_the_next_attempt(
    manager: WorkManager, blocking: Blocking, signals: FakeSignals
) -> None:
    task = await manager.enqueue("x", PythonWorker("blocking"), constraints=ONLINE)
    assert await blocking.wait_begun(1)
    await lost_and_back(task, signals)
    assert not await blocking.wait_begun(2)
    blocking.let_go()
    assert (await task.result()).success
    assert blocking.begun == [("x", 1), ("x", 2)]
    assert blocking.most == 1


async def test_a_function_that_runs_on_after_a_cancel_holds_back_the_task_that_replaces_it(
    manager: WorkManager, blocking: Blocking
) -> None:
    await manager.enqueue("x", PythonWorker("blocking"))
    assert await blocking.wait_begun(1)
    task = await manager.enqueue("x", PythonWorker("blocking"), existing_policy="replace")
    await happened(task, EventKind.STARTED, 1)
    assert not await blocking.wait_begun(2)
    blocking.let_go()
    assert (await task.result()).success
    assert blocking.begun == [("x", 1), ("x", 1)]
    assert blocking.most == 1


async def test_an_attempt_that_is_stopped_while_it_waits_for_another_never_runs(
    manager: WorkManager, blocking: Blocking, signals: FakeSignals
) -> None:
    task = await manager.enqueue("x", PythonWorker("blocking"), constraints=ONLINE)
    assert await blocking.wait_begun(1)
    await lost_and_back(task, signals)
    assert await task.cancel()
    other = await manager.enqueue("y", PythonWorker("blocking"))
    assert await blocking.wait_begun(2)
    blocking.let_go()
    assert (await other.result()).success
    await manager.close()
    assert blocking.begun == [("x", 1), ("y", 1)]


async def test_threads_are_no_more_than_attempts_whatever_runs_on(
    manager: WorkManager, blocking: Blocking, signals: FakeSignals
) -> None:
    """`max_concurrent` is 2; and what is cancelled while it waits for a thread never runs."""
    lost = [
        await manager.enqueue(name, PythonWorker("blocking"), constraints=ONLINE) for name in "ab"
    ]
    assert await blocking.wait_begun(2)
    signals.set_network(up=False)
    for task in lost:
        await happened(task, EventKind.INTERRUPTED, 1)
    others = [await manager.enqueue(name, PythonWorker("blocking")) for name in "cd"]
    for task in others:
        await happened(task, EventKind.STARTED, 1)
    assert await others[0].cancel()
    assert not await blocking.wait_begun(3)
    blocking.let_go()
    assert (await others[1].result()).success
    assert blocking.begun[2:] == [("d", 1)]
    assert blocking.most == 2


async def test_a_coroutine_that_tidies_up_holds_back_the_next_attempt(
    tmp_path: Path, signals: FakeSignals
) -> None:
    begun, tidy = asyncio.Event(), asyncio.Event()
    order: list[str] = []

    async def work(_: object, ctx: TaskContext) -> None:
        order.append(f"begins {ctx.attempt}")
        begun.set()
        if ctx.attempt == 1:
            try:
                await asyncio.Event().wait()
            finally:
                await tidy.wait()
                order.append("ends 1")

    async with WorkManager(tmp_path / "w.db", workers={"work": work}, signals=signals) as manager:
        task = await manager.enqueue("x", PythonWorker("work"), constraints=ONLINE)
        await begun.wait()
        await lost_and_back(task, signals)
        await asyncio.sleep(0.01)
        assert order == ["begins 1"]
        tidy.set()
        assert (await task.result()).success
    assert order == ["begins 1", "ends 1", "begins 2"]


async def test_a_function_that_runs_on_after_the_close_holds_back_the_attempt_after_the_opening(
    tmp_path: Path, blocking: Blocking, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(usercode, "GIVEN_UP_AFTER_S", 0.05)
    manager = WorkManager(tmp_path / "w.db", workers={"blocking": blocking}, close_timeout=0.05)
    async with manager:
        await manager.enqueue("x", PythonWorker("blocking"))
        assert await blocking.wait_begun(1)
    async with manager:
        task = await manager.get_handle("x")
        assert task is not None
        await happened(task, EventKind.STARTED, 2)
        assert not await blocking.wait_begun(2)
        blocking.let_go()
        assert (await task.result()).success
    assert blocking.begun == [("x", 1), ("x", 2)]
    assert blocking.most == 1


def test_what_a_loop_that_is_gone_left_behind_holds_back_nobody(
    tmp_path: Path, blocking: Blocking, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Nobody can learn any more when it ends: better twice at once than never again."""
    monkeypatch.setattr(usercode, "GIVEN_UP_AFTER_S", 0.05)
    manager = WorkManager(tmp_path / "w.db", workers={"blocking": blocking}, close_timeout=0.05)

    async def begin() -> None:
        async with manager:
            await manager.enqueue("x", PythonWorker("blocking"))
            assert await blocking.wait_begun(1)

    async def go_on() -> None:
        async with manager:
            task = await manager.get_handle("x")
            assert task is not None
            assert await blocking.wait_begun(2)
            blocking.let_go()
            assert (await task.result()).success

    loop = asyncio.new_event_loop()
    loop.run_until_complete(begin())
    (left,) = asyncio.all_tasks(loop)
    left._log_destroy_pending = False  # type: ignore[attr-defined]  # it is so on purpose
    loop.close()
    asyncio.run(go_on())


class Reports:
    """A bridge to a core that only notes what it is told."""

    def __init__(self) -> None:
        self.told: list[tuple[Any, ...]] = []
        self.core = self

    def claim_no_more(self) -> None:
        self.told.append(("claim_no_more",))

    def provide(self, key: int, attempt: int, secrets: list[str]) -> None:
        self.told.append(("provide", key, attempt, secrets))

    def withhold(self, key: int, attempt: int, message: str, *, retry: bool) -> None:
        self.told.append(("withhold", key, attempt, message, retry))

    def interrupted(self, key: int, attempt: int) -> None:
        self.told.append(("interrupted", key, attempt))

    def failed(self, key: int, attempt: int, message: str, *, retry: bool) -> None:
        self.told.append(("failed", key, attempt, message, retry))

    def succeeded(self, key: int, attempt: int, result: bytes) -> None:
        self.told.append(("succeeded", key, attempt, result))


async def ends_at_once(_: object, __: TaskContext) -> None:
    """Nothing to do."""


async def hangs(_: object, __: TaskContext) -> None:
    await asyncio.Event().wait()


async def stubborn(_: object, __: TaskContext) -> None:
    try:
        await asyncio.Event().wait()
    except asyncio.CancelledError:
        await asyncio.sleep(0)


@pytest.mark.parametrize("turns", range(4))
@pytest.mark.parametrize("stops", [1, 2])
@pytest.mark.parametrize("work", [ends_at_once, hangs, stubborn, lambda _, __: None])
async def test_an_attempt_that_is_stopped_at_whatever_moment_is_reported_once(
    work: Callable[[object, TaskContext], Any], stops: int, turns: int
) -> None:
    """With none of the loop's turns in between it has not even begun."""
    reports = Reports()
    callbacks = Callbacks({"work": work})
    callbacks.announce()
    callbacks.open(cast("Bridge", reports), threads_max=1)
    callbacks.run(1, 1, "work", b"\xc0", "x")
    for _ in range(turns):
        await asyncio.sleep(0)
    for _ in range(stops):
        callbacks.stop(1, 1, "shutdown")
    await callbacks.close()
    assert len(reports.told) == 1
    assert reports.told[0] in {("interrupted", 1, 1), ("succeeded", 1, 1, b"\xc0")}
