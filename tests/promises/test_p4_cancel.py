"""P4, F-07, C-09: a cancelled task never comes back, and its transfer stops within a second."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from datetime import timedelta
from pathlib import Path

import pytest
from tests.http.conftest import Made
from tests.http.peers import RawServer, head_of, request_of, verdict

from outhaul import (
    ErrorCode,
    EventKind,
    NativeWorker,
    PythonWorker,
    Secret,
    Task,
    TaskContext,
    TaskHandle,
    TaskStatus,
    TaskTrigger,
    WorkManager,
)
from outhaul.testing import Answer, FakeClock, FlakyServer

BIG = 32 * 1024 * 1024
Cancel = Callable[[WorkManager, TaskHandle], Awaitable[object]]

WAYS = [
    pytest.param(lambda _, task: task.cancel(), id="by its handle"),
    pytest.param(lambda manager, _: manager.cancel("x"), id="by its id"),
    pytest.param(lambda manager, _: manager.cancel_by_tag("t"), id="by its tag"),
    pytest.param(lambda manager, _: manager.cancel_all(), id="with all others"),
]


class Peer(RawServer):
    """Holds every connection: reads some of the body or all of it, and never answers."""

    def __init__(self, *, whole: bool = False) -> None:
        super().__init__(self._hold)
        self.whole = whole
        self.open = 0
        self.reached = asyncio.Event()
        self.closed = asyncio.Event()

    async def _hold(self, reader: asyncio.StreamReader, _: asyncio.StreamWriter) -> None:
        self.open += 1
        try:
            if self.whole:
                await request_of(reader)
            else:
                await head_of(reader)
                await reader.readexactly(100_000)
            self.reached.set()
            while await reader.read(1 << 20):
                await asyncio.sleep(0.02)
        finally:
            self.open -= 1
            self.closed.set()


@pytest.fixture(params=["while the body is sent", "while the answer is awaited"])
async def peer(request: pytest.FixtureRequest) -> AsyncIterator[Peer]:
    async with Peer(whole=request.param == "while the answer is awaited") as peer:
        yield peer


async def is_over(manager: WorkManager, task: TaskHandle, clock: FakeClock) -> None:
    """Everything P4 says about a task that was cancelled."""
    event = await task.result()
    assert (event.kind, event.error_code) == (EventKind.CANCELLED, ErrorCode.CANCELLED)
    assert (event.success, event.is_terminal) == (None, True)
    assert "cancelled" in event.message
    assert await task.status() is TaskStatus.CANCELLED
    assert await task.cancel() is False
    clock.advance(timedelta(days=30))
    await manager.wait_idle()
    assert [each.kind async for each in task.events()][-1] is EventKind.CANCELLED
    assert (await manager.stats()).live == 0


@pytest.mark.parametrize("cancel", WAYS)
async def test_a_cancelled_transfer_closes_its_connection_and_never_comes_back(
    manager: WorkManager, make: Made, clock: FakeClock, peer: Peer, cancel: Cancel
) -> None:
    worker = NativeWorker.http_upload(url=peer.url, file_path=make(100_000 if peer.whole else BIG))
    task = await manager.enqueue("x", worker, tag="t")
    await peer.reached.wait()
    async with asyncio.timeout(1):
        assert await cancel(manager, task)
        await peer.closed.wait()
    await is_over(manager, task, clock)
    await manager.close()
    async with manager:
        again = await manager.get_handle("x")
        assert again is not None
        await is_over(manager, again, clock)
    assert peer.connections == 1


@pytest.mark.parametrize("cancel", WAYS)
async def test_a_task_that_waits_for_its_retry_is_cancelled_with_it(
    manager: WorkManager, make: Made, clock: FakeClock, cancel: Cancel
) -> None:
    """C-09: in the seed, the timer fired all the same."""
    async with FlakyServer(script=[Answer(status=503)]) as server:
        worker = NativeWorker.http_upload(url=server.url, file_path=make())
        task = await manager.enqueue("x", worker, tag="t")
        await verdict(task)
        assert await cancel(manager, task)
        await is_over(manager, task, clock)
        assert len(server.requests) == 1


@pytest.mark.parametrize("cancel", WAYS)
async def test_a_task_that_waits_for_its_time_is_cancelled(
    manager: WorkManager, server: FlakyServer, make: Made, clock: FakeClock, cancel: Cancel
) -> None:
    worker = NativeWorker.http_upload(url=server.url, file_path=make())
    later = TaskTrigger.one_time(timedelta(hours=1))
    task = await manager.enqueue("x", worker, trigger=later, tag="t")
    assert await cancel(manager, task)
    await is_over(manager, task, clock)
    assert not server.requests


async def test_a_cancel_while_the_secret_is_looked_up_sends_nothing(
    tmp_path: Path, server: FlakyServer, make: Made, clock: FakeClock
) -> None:
    asked, answered = asyncio.Event(), asyncio.Event()

    async def provider() -> str:
        asked.set()
        await answered.wait()
        return "hunter22"

    path = tmp_path / "secrets.db"
    async with WorkManager(path, secrets={"token": provider}, clock=clock) as manager:
        headers = {"Authorization": Secret.provider("token")}
        worker = NativeWorker.http_upload(url=server.url, file_path=make(), headers=headers)
        task = await manager.enqueue("x", worker)
        await asked.wait()
        assert await task.cancel()
        answered.set()
        await is_over(manager, task, clock)
    assert not server.requests


@pytest.mark.parametrize("kind", ["a coroutine", "a coroutine that catches it"])
async def test_a_cancelled_callback_is_cancelled(
    tmp_path: Path, clock: FakeClock, kind: str
) -> None:
    begun, ended = asyncio.Event(), asyncio.Event()

    async def work(_: object, __: TaskContext) -> str:
        begun.set()
        try:
            await asyncio.Event().wait()
        except asyncio.CancelledError:
            ended.set()
            if kind == "a coroutine":
                raise
        return "done nevertheless"

    async with WorkManager(tmp_path / "w.db", workers={"work": work}, clock=clock) as manager:
        task = await manager.enqueue("x", PythonWorker("work"))
        await begun.wait()
        async with asyncio.timeout(1):
            assert await manager.cancel("x")
            await ended.wait()
        await is_over(manager, task, clock)


async def test_a_cancel_frees_the_slot_for_the_next(
    tmp_path: Path, server: FlakyServer, make: Made
) -> None:
    async with Peer() as peer, WorkManager(tmp_path / "w.db", max_concurrent=1) as manager:
        stuck = NativeWorker.http_upload(url=peer.url, file_path=make(BIG, "big"))
        first = await manager.enqueue("x", stuck)
        second = await manager.enqueue(
            "y", NativeWorker.http_upload(url=server.url, file_path=make())
        )
        await peer.reached.wait()
        assert await second.status() is TaskStatus.PENDING
        await first.cancel()
        async with asyncio.timeout(5):
            assert (await second.result()).success


async def test_a_cancel_means_live_tasks_only_and_says_how_many(
    tmp_path: Path, server: FlakyServer, make: Made
) -> None:
    later = TaskTrigger.one_time(timedelta(hours=1))
    worker = NativeWorker.http_upload(url=server.url, file_path=make())
    async with WorkManager(tmp_path / "w.db") as manager:
        done = await manager.enqueue("done", worker, tag="t")
        await done.result()
        tasks = [Task(name, worker, trigger=later, tag="t") for name in "abc"]
        await manager.enqueue_all([*tasks, Task("other", worker, trigger=later)])
        assert await manager.cancel("done") is False
        assert await manager.cancel("unheard-of") is False
        assert await manager.cancel("a") is True
        assert await manager.cancel_by_tag("t") == 2
        assert await manager.cancel_by_tag("unheard-of") == 0
        assert await manager.cancel_all() == 1
        assert await manager.cancel_all() == 0
        assert await done.status() is TaskStatus.COMPLETED


async def test_a_task_that_was_replaced_as_soon_as_it_was_stored_leaves_no_transfer_behind(
    tmp_path: Path, server: FlakyServer, make: Made
) -> None:
    """Both enqueues may share a transaction: the first is then claimed and replaced in it."""
    async with Peer() as peer, WorkManager(tmp_path / "w.db", max_concurrent=64) as manager:
        worker = NativeWorker.http_upload(url=peer.url, file_path=make(BIG, "big"))
        for name in "abcdefgh":
            again = (manager.enqueue(name, worker, existing_policy="replace") for _ in range(8))
            await asyncio.gather(*again)
        assert (await manager.stats()).live == 8
        await manager.cancel_all()
        probe = NativeWorker.http_upload(url=server.url, file_path=make())
        await (await manager.enqueue("probe", probe)).result()
        async with asyncio.timeout(1):
            while peer.open:
                peer.closed.clear()
                await peer.closed.wait()


async def test_a_cancel_ends_what_is_stored_and_what_was_enqueued_before_it_and_counts_both(
    manager: WorkManager, make: Made
) -> None:
    """Those with a file are on their way while it is looked at, others are stored by then."""
    later = TaskTrigger.one_time(timedelta(hours=1))
    worker = NativeWorker.http_upload(url="http://127.0.0.1:9/", file_path=make())
    stored = await manager.enqueue("x", worker, trigger=later, tag="t")
    on_their_way = [
        asyncio.create_task(manager.enqueue(None, worker, trigger=later, tag="t"))
        for _ in range(300)
    ]
    await asyncio.sleep(0)
    assert await manager.cancel_by_tag("t") == 301
    handles = [stored, *await asyncio.gather(*on_their_way)]
    assert {await handle.status() for handle in handles} == {TaskStatus.CANCELLED}
    assert (await manager.stats()).live == 0
