"""How many may wait, how many may run, and who goes first: with real transfers and callbacks."""

from __future__ import annotations

import asyncio
import collections
from collections.abc import Iterable
from datetime import timedelta
from pathlib import Path

import pytest
from tests.concurrency.held_server import HeldServer
from tests.http.conftest import Made
from tests.http.peers import RawServer, answer, request_of

from outhaul import (
    EventKind,
    NativeWorker,
    PythonWorker,
    Stats,
    Task,
    TaskContext,
    TaskEvent,
    TaskStatus,
    TaskTrigger,
    WorkManager,
)
from outhaul.errors import QueueFullError

LATER = TaskTrigger.one_time(timedelta(days=1))
# Three numbers that cannot be taken for one another.
RUNNING_MAX, PER_HOST_MAX, PENDING_MAX = 5, 3, 8


def peaks(events: Iterable[TaskEvent]) -> dict[str | None, int]:
    """How many attempts were under way at once: of each tag, and of all (`None`)."""
    now: collections.Counter[str | None] = collections.Counter()
    most: collections.Counter[str | None] = collections.Counter()
    for event in events:
        change = {EventKind.STARTED: 1, EventKind.COMPLETED: -1}.get(event.kind, 0)
        for whose in {event.tag, None}:
            now[whose] += change
            most[whose] = max(most[whose], now[whose])
    return dict(most)


async def everything(manager: WorkManager) -> list[TaskEvent]:
    return [event async for event in manager.events(after=0, follow=False)]


async def test_no_more_transfers_run_than_may_in_all_and_to_one_host(
    tmp_path: Path, make: Made
) -> None:
    """Each of the bounds is reached, and none is passed."""
    path = make()
    async with (
        HeldServer() as here,
        HeldServer() as there,
        WorkManager(
            tmp_path / "work.db",
            max_concurrent=RUNNING_MAX,
            max_per_host=PER_HOST_MAX,
            max_pending=PENDING_MAX,
        ) as manager,
    ):
        urls = {"here": here.url, "there": there.url.replace("127.0.0.1", "localhost")}

        def tasks(**number: int) -> list[Task]:
            workers = {
                tag: NativeWorker.http_upload(url=url, file_path=path) for tag, url in urls.items()
            }
            return [Task(None, workers[tag], tag=tag) for tag in urls for _ in range(number[tag])]

        async def running() -> dict[str | None, int]:
            under_way = await manager.get_tasks_by_status(TaskStatus.RUNNING)
            return dict(collections.Counter(each.tag for each in under_way))

        made = await manager.enqueue_all(tasks(here=PENDING_MAX - 1, there=1))
        assert await running() == {"here": PER_HOST_MAX, "there": 1}
        made += await manager.enqueue_all(tasks(here=0, there=4))
        assert await running() == {"here": PER_HOST_MAX, "there": RUNNING_MAX - PER_HOST_MAX}
        async with asyncio.timeout(10):
            while here.requests + there.requests < RUNNING_MAX:
                await asyncio.sleep(0.01)
        waiting = await manager.get_tasks_by_status(TaskStatus.PENDING)
        assert {each.waiting_on for each in waiting} == {"limit"}
        before = await manager.stats()
        with pytest.raises(QueueFullError, match="7 tasks wait already"):
            await manager.enqueue_all(tasks(here=1, there=1))
        assert await manager.stats() == before
        made += await manager.enqueue_all(tasks(here=0, there=1))
        for server in (here, there):
            server.release.set()
        for task in made:
            assert (await task.result()).success
        most = peaks(await everything(manager))
    assert most.pop("there") <= PER_HOST_MAX
    assert most == {None: RUNNING_MAX, "here": PER_HOST_MAX}


async def test_no_more_callbacks_run_than_may_in_all(tmp_path: Path) -> None:
    """They go to no host."""
    release, full = asyncio.Event(), asyncio.Event()
    running = most = 0

    async def work(_: object, __: TaskContext) -> None:
        nonlocal running, most
        running += 1
        most = max(most, running)
        if running == RUNNING_MAX:
            full.set()
        await release.wait()
        running -= 1

    async with WorkManager(
        tmp_path / "work.db",
        workers={"work": work},
        max_concurrent=RUNNING_MAX,
        max_per_host=1,
        max_pending=20,
    ) as manager:
        made = await manager.enqueue_all([Task(None, PythonWorker("work")) for _ in range(20)])
        await full.wait()
        stats = await manager.stats()
        assert (stats.running, stats.pending) == (RUNNING_MAX, 15)
        release.set()
        for task in made:
            assert (await task.result()).success
        assert peaks(await everything(manager)) == {None: RUNNING_MAX}
    assert most == RUNNING_MAX


async def test_one_task_too_many_is_refused_and_not_stored_until_there_is_room(
    tmp_path: Path,
) -> None:
    work = PythonWorker("elsewhere")
    async with WorkManager(
        tmp_path / "work.db", workers="elsewhere", max_pending=PENDING_MAX
    ) as manager:
        for number in range(PENDING_MAX):
            await manager.enqueue(f"x{number}", work, trigger=LATER)
        before = await manager.stats()
        assert before == Stats(pending=PENDING_MAX, last_event=PENDING_MAX)
        with pytest.raises(QueueFullError) as refused:
            await manager.enqueue("one more", work)
        assert refused.value.code == "QUEUE_FULL"
        assert await manager.stats() == before
        assert await manager.get_task("one more") is None
        assert await manager.cancel("x3")
        await manager.enqueue("one more", work)
        assert await manager.get_task_status("one more") is TaskStatus.PENDING


PRIORITIES = {"a": 0, "b": 7, "c": -3, "d": 7, "e": 1, "f": 2**31 - 1, "g": -(2**31)}
IN_ORDER = ["f", "b", "d", "e", "a", "c", "g"]


async def test_among_uploads_to_a_host_the_largest_priority_goes_first(
    tmp_path: Path, make: Made
) -> None:
    paths: list[str] = []
    arrived, release = asyncio.Event(), asyncio.Event()

    async def speak(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        head, _ = await request_of(reader)
        paths.append(head.split()[1].decode().rpartition("/")[2])
        arrived.set()
        await release.wait()
        writer.write(answer("200 OK", b"", "Connection: close"))
        await writer.drain()

    async with (
        RawServer(speak) as server,
        WorkManager(tmp_path / "work.db", max_concurrent=1) as manager,
    ):

        def task(name: str, priority: int) -> Task:
            worker = NativeWorker.http_upload(url=f"{server.url}/{name}", file_path=make())
            return Task(name, worker, priority=priority)

        made = await manager.enqueue_all([task("first", -9)])
        await arrived.wait()
        made += await manager.enqueue_all([task(*each) for each in PRIORITIES.items()])
        release.set()
        for each in made:
            assert (await each.result()).success
    assert paths == ["first", *IN_ORDER]


async def test_among_callbacks_the_largest_priority_goes_first(tmp_path: Path) -> None:
    order: list[str] = []
    arrived, release = asyncio.Event(), asyncio.Event()

    async def work(_: object, ctx: TaskContext) -> None:
        order.append(ctx.task_id)
        arrived.set()
        await release.wait()

    async with WorkManager(
        tmp_path / "work.db", workers={"work": work}, max_concurrent=1
    ) as manager:
        made = [await manager.enqueue("first", PythonWorker("work"), priority=-9)]
        await arrived.wait()
        for name, priority in PRIORITIES.items():
            made.append(await manager.enqueue(name, PythonWorker("work"), priority=priority))
        release.set()
        for task in made:
            assert (await task.result()).success
    assert order == ["first", *IN_ORDER]


async def test_as_many_connections_are_kept_as_transfers_to_a_host_may_run(
    tmp_path: Path, make: Made
) -> None:
    slots = 40
    all_here = asyncio.Barrier(slots)

    async def speak(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while not reader.at_eof():
            await request_of(reader)
            await all_here.wait()
            writer.write(answer())

    path = make()
    async with (
        RawServer(speak) as server,
        WorkManager(tmp_path / "x.db", max_concurrent=slots, max_per_host=slots) as manager,
    ):
        task = Task(None, NativeWorker.http_upload(url=server.url, file_path=path))
        for _ in range(2):
            for made in await manager.enqueue_all([task] * slots):
                assert (await made.result()).success
        assert server.connections == slots
