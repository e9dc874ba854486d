"""Callbacks that end in odd ways: each attempt still ends, and so does whoever waits for it."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any

import pytest

from outhaul import (
    EventKind,
    NativeWorker,
    PythonWorker,
    Retention,
    RetryPolicy,
    TaskContext,
    TaskStatus,
    WorkManager,
)
from outhaul.testing import FakeClock


async def echo(value: Any, _: TaskContext) -> Any:  # noqa: ANN401 — whatever was enqueued
    return value


async def test_a_function_that_raises_stop_iteration_has_failed(tmp_path: Path) -> None:
    def work(_: object, __: object) -> object:
        return next(iter(()))

    async with WorkManager(tmp_path / "w.db", workers={"work": work}) as manager:
        handle = await manager.enqueue("x", PythonWorker("work"), retry=RetryPolicy.NONE)
        event = await asyncio.wait_for(handle.result(), 5)
    assert (event.kind, "StopIteration" in event.message) == (EventKind.FAILED, True)


async def test_who_resumes_after_the_last_event_of_a_task_is_done_at_once(tmp_path: Path) -> None:
    async def work(_: object, __: object) -> bool:
        return True

    async with WorkManager(tmp_path / "w.db", workers={"work": work}) as manager:
        handle = await manager.enqueue("x", PythonWorker("work"))
        last = await handle.result()
        async with asyncio.timeout(5):
            assert [event async for event in handle.events(after=last.seq)] == []
            assert [event.seq async for event in handle.events(after=last.seq - 1)] == [last.seq]


async def test_the_whole_log_is_read_from_its_beginning_although_parts_are_gone(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A page in the middle stands before what retention removed last, and misses nothing."""
    monkeypatch.setattr("outhaul.queries.PAGE", 3)

    async def work(value: object, _: object) -> object:
        if value:
            raise ValueError
        return True

    once = RetryPolicy.NONE
    async with WorkManager(tmp_path / "w.db", workers={"work": work}) as manager:
        for number in range(8):  # failed ones are kept, completed ones between them go
            task = await manager.enqueue(None, PythonWorker("work", number % 2), retry=once)
            await task.result()
    keep = Retention(completed=0.0, failed=None)
    async with WorkManager(tmp_path / "w.db", workers={"work": work}, retention=keep) as manager:
        while (await manager.stats()).completed > 0:
            await asyncio.sleep(0.01)
        events = [event async for event in manager.events(after=0, follow=False)]
        assert len(events) == 4 * 3
        some = manager.events(after=2, skip_pruned=True, follow=False)
        assert [event.seq async for event in some] == [event.seq for event in events]


@pytest.mark.parametrize("broken", ["start", "close"])
async def test_signals_that_cannot_start_or_end_leave_nothing_open(
    tmp_path: Path, broken: str
) -> None:
    class Signals:
        def start(self, *_: Any) -> None:  # noqa: ANN401 — never used
            self.called("start")

        def close(self) -> None:
            self.called("close")

        def called(self, name: str) -> None:
            if name == broken:
                raise OSError("no signals here")

    with pytest.raises(OSError, match="no signals"):
        async with WorkManager(tmp_path / "w.db", signals=Signals(), clock=FakeClock()):
            assert broken == "close"
    workers = {"echo": echo}
    async with WorkManager(tmp_path / "w.db", workers=workers) as manager:  # the lock is free
        assert (await (await manager.enqueue(None, PythonWorker("echo", 5))).result()).success


async def test_a_cancel_of_a_task_that_is_being_replaced_says_that_there_was_one(
    tmp_path: Path,
) -> None:
    """The stored one and the one that is on its way are two, and both end."""
    photo = tmp_path / "photo.jpg"
    photo.write_bytes(b"hello")
    async with WorkManager(tmp_path / "work.db", run=False) as manager:
        worker = NativeWorker.http_upload(url="http://127.0.0.1:1/", file_path=photo)
        for _ in range(20):
            await manager.enqueue("x", worker)
            other, was_there = await asyncio.gather(
                manager.enqueue("x", worker, existing_policy="replace"), manager.cancel("x")
            )
            assert was_there
            assert await other.status() == TaskStatus.CANCELLED
