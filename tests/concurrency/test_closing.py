"""Closing while things run, and using a manager where it can't be used."""

from __future__ import annotations

import asyncio
import collections
import contextlib
import os
import pickle
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from tests.concurrency.held_server import HeldServer

from outhaul import (
    NativeWorker,
    PythonWorker,
    RetryPolicy,
    Task,
    TaskContext,
    TaskStatus,
    WorkManager,
)
from outhaul.errors import ForkedError, ManagerClosedError, OuthaulError, WrongLoopError
from outhaul.testing import FakeSignals

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Iterator

    from outhaul import TaskHandle

ONE_RETRY = RetryPolicy(max_retries=1, initial_delay=0.05)
LATER = Task("later", PythonWorker("elsewhere"))


@pytest.fixture
def large(tmp_path: Path) -> Path:
    path = tmp_path / "large.bin"
    path.touch()
    os.truncate(path, 5_000_000)
    return path


async def take_one(items: Any) -> object:  # noqa: ANN401 — whatever is iterated
    async for item in items:
        return item
    return None


def verbs(manager: WorkManager, handle: TaskHandle | None) -> Iterator[tuple[str, Awaitable[Any]]]:
    """Every verb that asks the core, ready to be awaited."""
    yield "enqueue", manager.enqueue("x", PythonWorker("elsewhere"))
    yield "enqueue_all", manager.enqueue_all([LATER])
    yield "enqueue_all of nothing", manager.enqueue_all([])
    yield "cancel", manager.cancel("x")
    yield "cancel_by_tag", manager.cancel_by_tag("x")
    yield "cancel_all", manager.cancel_all()
    yield "get_task", manager.get_task("x")
    yield "get_task_status", manager.get_task_status("x")
    yield "get_tasks_by_tag", manager.get_tasks_by_tag("x")
    yield "get_tasks_by_status", manager.get_tasks_by_status()
    yield "get_handle", manager.get_handle("x")
    yield "all_tags", manager.all_tags()
    yield "stats", manager.stats()
    yield "drain", manager.drain()
    yield "wait_idle", manager.wait_idle()
    yield "events", take_one(later(lambda: manager.events(after=0)))
    yield "progress", take_one(later(manager.progress))
    if handle is not None:
        yield "handle.status", handle.status()
        yield "handle.cancel", handle.cancel()
        yield "handle.result", handle.result()
        yield "handle.events", take_one(handle.events())
        yield "handle.progress", take_one(handle.progress())


async def later(make: Callable[[], Any]) -> Any:  # noqa: ANN401 — as above
    """An iterator that is made when it is begun: making it may raise, too."""
    async for item in make():
        yield item


def files_in(folder: Path) -> list[Path]:
    return list(folder.iterdir())


async def wrong_answers(
    manager: WorkManager, handle: TaskHandle | None, kind: type[OuthaulError]
) -> list[str]:
    """The verbs that do anything else than raise such an error at once."""
    wrong = []
    for name, verb in verbs(manager, handle):
        try:
            await asyncio.wait_for(verb, 0.5)
        except kind as error:
            assert str(error)  # noqa: PT017 — the others are collected
        except Exception as error:  # noqa: BLE001 — judged by the test
            wrong.append(f"{name}: {type(error).__name__}")
        else:
            wrong.append(f"{name}: returned")
    return wrong


async def test_every_verb_before_the_opening_says_how_to_open(tmp_path: Path) -> None:
    manager = WorkManager(tmp_path / "work.db")
    assert await wrong_answers(manager, None, ManagerClosedError) == []
    assert files_in(tmp_path) == []


async def test_every_verb_after_the_close_says_that_it_is_closed(tmp_path: Path) -> None:
    async with WorkManager(tmp_path / "work.db", workers="elsewhere") as manager:
        handle = await manager.enqueue("t", PythonWorker("elsewhere"))
    assert await wrong_answers(manager, handle, ManagerClosedError) == []
    await manager.close()  # twice does nothing


async def test_every_verb_on_another_loop_says_which_way_there_is(tmp_path: Path) -> None:
    async with WorkManager(tmp_path / "work.db", workers="elsewhere") as manager:
        handle = await manager.enqueue("t", PythonWorker("elsewhere"))
        found: list[str] = []

        def elsewhere() -> None:
            found.extend(asyncio.run(wrong_answers(manager, handle, WrongLoopError)))

        await asyncio.to_thread(elsewhere)
        assert found == []
        # And the way it names works.
        loop = asyncio.get_running_loop()
        ask = asyncio.to_thread(
            lambda: asyncio.run_coroutine_threadsafe(manager.get_task_status("t"), loop).result(5)
        )
        assert await ask == TaskStatus.PENDING


@pytest.mark.filterwarnings("ignore:This process .* is multi-threaded:DeprecationWarning")
async def test_every_verb_in_a_forked_child_says_that_it_is_forked(tmp_path: Path) -> None:
    async with WorkManager(tmp_path / "work.db", workers="elsewhere") as manager:
        handle = await manager.enqueue("t", PythonWorker("elsewhere"))
        reading, writing = os.pipe()
        pid = os.fork()
        if pid == 0:
            report = ["the child raised"]
            try:
                asyncio.set_event_loop(None)
                loop = asyncio.SelectorEventLoop()
                verbs_left = wrong_answers(manager, handle, ForkedError)
                report = loop.run_until_complete(verbs_left)
                report += loop.run_until_complete(close_forked(manager))
            finally:
                os.write(writing, pickle.dumps(report))
                os._exit(0)
        os.close(writing)
        with os.fdopen(reading, "rb") as answer:
            told = await asyncio.to_thread(answer.read)
        await asyncio.to_thread(os.waitpid, pid, 0)
        assert pickle.loads(told) == []
        # The parent has lost nothing by it.
        assert await handle.status() == TaskStatus.PENDING
        assert await handle.cancel()


async def close_forked(manager: WorkManager) -> list[str]:
    try:
        await manager.close()
    except ForkedError:
        return []
    return ["close: returned"]


async def test_closing_interrupts_an_upload_which_is_done_after_the_next_opening(
    tmp_path: Path, large: Path
) -> None:
    """An attempt that was cut short is not counted: after three the one retry is still there."""
    async with HeldServer() as server:
        async with WorkManager(tmp_path / "work.db") as manager:
            worker = NativeWorker.http_upload(url=server.url, file_path=large)
            await manager.enqueue("large", worker, retry=ONE_RETRY)
            for _ in range(3):
                await server.arrived.wait()
                server.arrived.clear()
                await manager.close()
                await server.gone.wait()
                server.gone.clear()
                await manager.__aenter__()
            await server.arrived.wait()
            server.statuses = [503]
            server.release.set()
            handle = await manager.get_handle("large")
            assert handle is not None
            assert (await handle.result()).success
            kinds = [event.kind.value async for event in handle.events()]
        cut_short, refused = ["started", "interrupted"] * 3, ["started", "retry_scheduled"]
        assert kinds == ["enqueued", *cut_short, *refused, "started", "completed"]
        assert len(set(server.keys)) == 1


async def test_closing_answers_everybody_who_waits(tmp_path: Path, large: Path) -> None:
    async with HeldServer() as server, WorkManager(tmp_path / "work.db") as manager:
        worker = NativeWorker.http_upload(url=server.url, file_path=large)
        handle = await manager.enqueue("large", worker)
        await server.arrived.wait()
        waiting = [
            asyncio.ensure_future(verb)
            for verb in (
                handle.result(),
                manager.wait_idle(),
                manager.drain(),
                take_one(manager.events(task_id="nobody")),
            )
        ]
        await manager.stats()  # behind them in the queue of questions
        await asyncio.wait_for(manager.close(), 2)
        for answer in await asyncio.gather(*waiting, return_exceptions=True):
            assert isinstance(answer, ManagerClosedError)


async def nothing(_: object, __: TaskContext) -> None:
    """Ends at once."""


class HoldingUp(FakeSignals):
    """Holds up the loop as the core is closed, and right after."""

    def close(self) -> None:
        super().close()
        self.hold_up()
        asyncio.get_running_loop().call_soon(self.hold_up)

    def hold_up(self) -> None:
        loop = asyncio.get_running_loop()
        until = loop.time() + 0.05
        while loop.time() < until:
            pass


async def test_closing_never_waits_for_callbacks_that_had_no_time_to_begin(tmp_path: Path) -> None:
    """Requests and their stops arrive together, since the loop is held up at the close."""
    async with WorkManager(
        tmp_path / "work.db",
        workers={"nothing": nothing},
        close_timeout=60,
        durability="os",
        signals=HoldingUp(),
    ) as manager:
        rounds, kinds = 0, collections.Counter[str]()
        while not kinds["interrupted"] and rounds < 40:  # whether some were asked for is chance
            rounds += 1
            tasks = [Task(None, PythonWorker("nothing")) for _ in range(100)]
            handles = await manager.enqueue_all(tasks)
            await handles[50].result()
            await asyncio.wait_for(manager.close(), 10)
            await manager.__aenter__()
            await manager.wait_idle()
            events = [event async for event in manager.events(after=0, follow=False)]
            kinds = collections.Counter(event.kind.value for event in events)
    assert kinds["interrupted"] > 0
    assert kinds["started"] == kinds["interrupted"] + kinds["completed"]
    assert kinds["completed"] == kinds["enqueued"] == rounds * 100


PROCESS_THAT_EXITS = """
import asyncio, sys
from outhaul import PythonWorker, RetryPolicy, WorkManager

async def exits(_, __):
    sys.exit(7)

async def main():
    async with WorkManager(sys.argv[1], workers={"exits": exits}, close_timeout=60) as manager:
        retry = RetryPolicy(max_retries=1, initial_delay=0.3)
        task = await manager.enqueue("x", PythonWorker("exits"), retry=retry)
        await task.result()

asyncio.run(main())
"""


async def test_a_callback_that_ends_the_process_holds_up_nobody_and_fails_in_the_end(
    tmp_path: Path,
) -> None:
    """Else a service that is started again each time would never get past it."""
    command = [sys.executable, "-c", PROCESS_THAT_EXITS, str(tmp_path / "work.db")]
    for _ in range(2):
        ended = await asyncio.to_thread(
            subprocess.run, command, timeout=20, check=False, capture_output=True
        )
        assert ended.returncode == 7, ended.stderr.decode()
    async with WorkManager(tmp_path / "work.db", workers="elsewhere", run=False) as manager:
        record = await manager.get_task("x")
    assert record is not None
    assert (record.status, record.attempt) == (TaskStatus.FAILED, 2)
    assert record.message == "SystemExit: 7"


async def test_an_enqueue_under_way_at_the_close_is_stored_or_refused(tmp_path: Path) -> None:
    """P1 in both directions: what was accepted is there, what was refused is not."""
    store = tmp_path / "work.db"
    async with WorkManager(store, workers="elsewhere") as manager:
        enqueues = [
            asyncio.ensure_future(manager.enqueue(f"t{n}", PythonWorker("elsewhere")))
            for n in range(500)
        ]
        await enqueues[50]
        await manager.close()
        answers = await asyncio.gather(*enqueues, return_exceptions=True)
    refused = [answer for answer in answers if isinstance(answer, BaseException)]
    assert all(isinstance(error, ManagerClosedError) for error in refused)
    async with WorkManager(store, workers="elsewhere", run=False) as manager:
        stored = {task.task_id for task in await manager.get_tasks_by_status()}
    told = {f"t{n}" for n, a in enumerate(answers) if not isinstance(a, BaseException)}
    assert stored == told


async def test_no_thread_is_left_behind_by_a_manager(tmp_path: Path) -> None:
    before = threads_of_ours()
    async with WorkManager(tmp_path / "work.db"):
        made = threads_of_ours() - before
    assert made
    async with asyncio.timeout(5):
        while made & threads_of_ours():
            await asyncio.sleep(0.01)


def threads_of_ours() -> set[str]:
    found = set()
    for thread in Path("/proc/self/task").iterdir():
        with contextlib.suppress(OSError):  # it has just ended
            if (thread / "comm").read_text().startswith("outhaul"):
                found.add(thread.name)
    return found
