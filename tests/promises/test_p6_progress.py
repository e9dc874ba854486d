"""P6, F-09: progress never goes back, comes seldom, and is 100 % only once the server has said so.

These run on the host's clock: updates keep a least distance of 100 ms.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from itertools import pairwise
from pathlib import Path

import pytest
from tests.http.conftest import Made
from tests.http.peers import RawServer, answer, head_of, length_of, verdict

from outhaul import NativeWorker, RetryPolicy, TaskHandle, TaskProgress, WorkManager

BIG = 16 * 1024 * 1024
SOON = RetryPolicy(initial_delay=0.001)


class SlowServer(RawServer):
    """Takes about a second for a body; cuts the first connections short; answers when told."""

    def __init__(self, *, cuts: int = 0) -> None:
        super().__init__(self._read)
        self.cuts = cuts
        self.whole, self.may_answer = asyncio.Event(), asyncio.Event()

    async def _read(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        left = total = length_of(await head_of(reader))
        while left:
            left -= len(await reader.read(1 << 20))
            await asyncio.sleep(0.01)
            if self.connections <= self.cuts and left < total * 0.3:
                return
        self.whole.set()
        await self.may_answer.wait()
        writer.write(answer("200 OK", b"", "Connection: close"))
        await reader.read()


async def followed(task: TaskHandle, updates: list[TaskProgress]) -> None:
    async for update in task.progress():
        updates.append(update)  # noqa: PERF401 — a test looks while they come


def is_true(updates: list[TaskProgress]) -> bool:
    assert len(updates) <= 101
    for before, after in pairwise(updates):
        assert after.percent >= before.percent
        assert after.bytes_sent >= before.bytes_sent
        assert after.bytes_acknowledged >= before.bytes_acknowledged
    for update in updates:
        assert 0 <= update.bytes_acknowledged <= update.bytes_sent <= update.bytes_total
        assert update.percent <= 99 or update.bytes_acknowledged == update.bytes_total
    return True


@pytest.fixture
async def real(tmp_path: Path) -> AsyncIterator[WorkManager]:
    async with WorkManager(tmp_path / "real.db") as manager:
        yield manager


async def test_progress_is_true_while_the_body_is_sent_and_done_with_the_answer(
    real: WorkManager, make: Made
) -> None:
    updates: list[TaskProgress] = []
    async with SlowServer() as server:
        task = await real.enqueue(
            "x", NativeWorker.http_upload(url=server.url, file_path=make(BIG))
        )
        following = asyncio.create_task(followed(task, updates))
        await server.whole.wait()
        unanswered = list(updates)
        assert unanswered
        assert max(update.percent for update in unanswered) <= 99
        assert all(update.bytes_acknowledged == 0 for update in unanswered)
        server.may_answer.set()
        assert (await task.result()).success
        await following
    assert is_true(updates)
    assert len(updates) > 3
    last = updates[-1]
    assert (last.percent, last.bytes_acknowledged, last.remaining_ms) == (100, last.bytes_total, 0)
    assert last.bytes_total > BIG
    assert last.rate_human.endswith("B/s")
    assert len([update for update in updates if update.percent == 100]) == 1


async def test_a_retry_never_shows_less_than_the_attempt_before(
    real: WorkManager, make: Made
) -> None:
    updates: list[TaskProgress] = []
    async with SlowServer(cuts=2) as server:
        server.may_answer.set()
        worker = NativeWorker.http_upload(url=server.url, file_path=make(BIG))
        task = await real.enqueue("x", worker, retry=SOON)
        following = asyncio.create_task(followed(task, updates))
        assert (await task.result()).attempt == 3
        await following
    assert is_true(updates)
    assert updates[-1].percent == 100


async def test_a_restart_never_shows_less_than_the_process_before(
    tmp_path: Path, make: Made
) -> None:
    """E-9: the mark is stored, about once a second."""
    path = tmp_path / "restart.db"
    updates: list[TaskProgress] = []
    async with SlowServer() as server:
        worker = NativeWorker.http_upload(url=server.url, file_path=make(BIG))
        async with WorkManager(path) as manager:
            task = await manager.enqueue("x", worker)
            following = asyncio.create_task(followed(task, updates))
            await server.whole.wait()
            following.cancel()
        server.may_answer.set()
        async with WorkManager(path) as manager:
            again = await manager.get_handle("x")
            assert again is not None
            await followed(again, updates)
            assert (await again.result()).success
    assert is_true(updates)


@pytest.mark.parametrize("status", ["503 Service Unavailable", "404 Not Found"])
async def test_a_refusal_is_never_done(real: WorkManager, make: Made, status: str) -> None:
    async def speak(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readexactly(length_of(await head_of(reader)))
        writer.write(answer(status))
        await reader.read()

    updates: list[TaskProgress] = []
    async with RawServer(speak) as server:
        worker = NativeWorker.http_upload(url=server.url, file_path=make(3_000_000))
        task = await real.enqueue("x", worker, retry=RetryPolicy.NONE)
        await followed(task, updates)
    assert is_true(updates)
    assert all(update.percent < 100 for update in updates)


async def test_who_asks_after_the_end_still_learns_how_far_it_came(
    real: WorkManager, make: Made
) -> None:
    async with SlowServer() as server:
        server.may_answer.set()
        task = await real.enqueue("x", NativeWorker.http_upload(url=server.url, file_path=make()))
        await verdict(task)
        updates: list[TaskProgress] = []
        await followed(task, updates)
    assert [update.percent for update in updates] == [100]


async def test_a_slow_reader_gets_the_newest_of_each_task_and_no_queue(
    real: WorkManager, make: Made
) -> None:
    async with SlowServer() as server:
        server.may_answer.set()
        for name in ("a", "b"):
            worker = NativeWorker.http_upload(url=server.url, file_path=make(BIG, name))
            task = await real.enqueue(name, worker, tag="t")
            await task.result()
        seen = {}
        async for update in real.progress(tag="t"):
            seen[update.task_id] = update.percent
            if len(seen) == 2:
                break
    assert seen == {"a": 100, "b": 100}
