"""`Retry-After` is about the host: nobody else is sent there before, and loses an attempt."""

from __future__ import annotations

from datetime import timedelta
from pathlib import Path

from tests.http.conftest import Made
from tests.http.peers import verdict

from outhaul import EventKind, NativeWorker, Task, WaitingOn, WorkManager
from outhaul.testing import Answer, FakeClock, FlakyServer

BUSY = Answer(status=429, retry_after="120")


async def test_a_host_is_left_alone_for_as_long_as_it_asks(
    manager: WorkManager, make: Made, clock: FakeClock
) -> None:
    names = [f"file {number}" for number in range(20)]
    paths = [make(name=name) for name in names]
    async with FlakyServer(script=[BUSY]) as busy, FlakyServer() as other:
        first = await manager.enqueue(
            "first", NativeWorker.http_upload(url=busy.url, file_path=paths[0])
        )
        assert (await verdict(first)).kind is EventKind.RETRY_SCHEDULED
        waiting = await manager.enqueue_all(
            Task(name, NativeWorker.http_upload(url=busy.url, file_path=path))
            for name, path in zip(names, paths, strict=True)
        )
        elsewhere = NativeWorker.http_upload(url=other.url, file_path=paths[0])
        assert (await (await manager.enqueue("elsewhere", elsewhere)).result()).success
        clock.advance(timedelta(seconds=119))
        await manager.wait_idle()
        assert len(busy.requests) == 1
        record = await manager.get_task("file 0")
        assert record is not None
        assert (record.attempt, record.waiting_on) == (0, WaitingOn.LIMIT)
        clock.advance(timedelta(seconds=1))
        for task in waiting:
            event = await task.result()
            assert (event.success, event.attempt) == (True, 1)
        clock.advance(timedelta(seconds=12))  # what may be added to a wait
        assert (await first.result()).attempt == 2


async def test_a_host_is_left_alone_after_a_restart_too(
    tmp_path: Path, make: Made, clock: FakeClock
) -> None:
    store = tmp_path / "again.db"
    async with FlakyServer(script=[BUSY]) as busy:
        async with WorkManager(store, clock=clock) as manager:
            worker = NativeWorker.http_upload(url=busy.url, file_path=make())
            await verdict(await manager.enqueue("first", worker))
        async with WorkManager(store, clock=clock) as manager:
            late = await manager.enqueue("late", worker)
            await manager.wait_idle()
            assert len(busy.requests) == 1
            clock.advance(timedelta(seconds=121))
            assert (await late.result()).attempt == 1


async def test_a_host_is_left_alone_for_an_hour_at_most(
    manager: WorkManager, make: Made, clock: FakeClock
) -> None:
    async with FlakyServer(script=[Answer(status=503, retry_after="86400")]) as busy:
        worker = NativeWorker.http_upload(url=busy.url, file_path=make())
        await verdict(await manager.enqueue("first", worker))
        late = await manager.enqueue("late", worker)
        clock.advance(timedelta(minutes=59))
        await manager.wait_idle()
        assert len(busy.requests) == 1
        clock.advance(timedelta(minutes=1))
        assert (await late.result()).success
        record = await manager.get_task("first")
        assert record is not None
        assert record.waiting_on is WaitingOn.RETRY
