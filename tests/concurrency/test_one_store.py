"""One store has one runner, however it is spelled; it forgets what ended; its WAL is short."""

from __future__ import annotations

import asyncio
import sys
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest

from outhaul import (
    PythonWorker,
    Retention,
    Task,
    TaskHandle,
    TaskStatus,
    TaskTrigger,
    WorkManager,
)
from outhaul.errors import (
    CursorPrunedError,
    InvalidArgumentError,
    InvalidTypeError,
    QueueFullError,
    TaskNotFoundError,
)


async def echo(value: object, _: object) -> object:
    return value


async def test_two_spellings_of_a_store_have_one_runner(tmp_path: Path) -> None:
    store, link = tmp_path / "work.db", tmp_path / "link.db"
    link.symlink_to(store)
    began: list[str] = []

    def named(name: str) -> dict[str, Any]:
        async def work(_: object, __: object) -> bool:
            began.append(name)
            await asyncio.sleep(0.5)
            return True

        return {"work": work}

    async with (
        WorkManager(store, workers=named("first")) as first,
        WorkManager(link, workers=named("second")) as second,
    ):
        task = await second.enqueue("x", PythonWorker("work"))
        assert (await task.result()).success
        assert await first.get_task_status("x") is TaskStatus.COMPLETED
    assert began == ["first"]
    assert {path.name for path in tmp_path.iterdir()} == {"work.db", "work.db.runner", "link.db"}


async def test_who_runs_gives_way_when_the_lock_was_taken_away_and_another_runs(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    store, began = tmp_path / "w.db", []

    def named(name: str) -> dict[str, Any]:
        async def work(value: object, _: object) -> bool:
            began.append((name, value))
            await (asyncio.Event().wait() if name == "first" else asyncio.sleep(0.5))
            return True

        return {"work": work}

    async with WorkManager(store, workers=named("first")) as first:
        tasks = [await first.enqueue(None, PythonWorker("work", 1))]
        while not began:
            await asyncio.sleep(0.01)
        (tmp_path / "w.db.runner").unlink()
        async with WorkManager(store, workers=named("second")) as second:
            tasks += [await first.enqueue(None, PythonWorker("work", 2))]
            tasks += [await second.enqueue(None, PythonWorker("work", 3))]
            assert all([(await task.result()).success for task in tasks])
        assert sorted(began) == [("first", 1), ("second", 1), ("second", 2), ("second", 3)]
        assert "its lock was removed" in caplog.text
        # It stands by, and takes over.
        task = await first.enqueue(None, PythonWorker("work", 4))
        async with asyncio.timeout(10):
            while began[-1] != ("first", 4):
                await asyncio.sleep(0.01)
        assert await task.cancel()


async def test_calls_that_wait_are_answered_although_others_never_cease_to_ask(
    tmp_path: Path,
) -> None:
    async def work(_: object, __: object) -> bool:
        await asyncio.sleep(0.3)
        return True

    async with WorkManager(tmp_path / "w.db", workers={"work": work}) as manager:
        later = TaskTrigger.one_time(3600)
        await manager.enqueue_all([Task(None, PythonWorker("work"), trigger=later)] * 20_000)

        async def ask() -> None:
            while True:
                await manager.stats()

        asking = [asyncio.create_task(ask()) for _ in range(16)]
        task = await manager.enqueue(None, PythonWorker("work"))
        assert (await asyncio.wait_for(task.result(), 10)).success
        for each in asking:
            each.cancel()
        await asyncio.gather(*asking, return_exceptions=True)


async def test_an_observer_knows_how_many_wait(tmp_path: Path) -> None:
    later = TaskTrigger.one_time(3600)
    tasks = [Task(None, PythonWorker("w"), trigger=later)] * 5
    async with WorkManager(tmp_path / "w.db", run=False, workers="elsewhere") as manager:
        await manager.enqueue_all(tasks)
    async with WorkManager(
        tmp_path / "w.db", run=False, workers="elsewhere", max_pending=7
    ) as manager:
        await manager.enqueue_all(tasks[:2])
        with pytest.raises(QueueFullError, match="7 tasks wait"):
            await manager.enqueue_all(tasks[:1])
        assert (await manager.stats()).pending == 7


async def test_what_ended_long_ago_is_forgotten_at_the_next_opening(tmp_path: Path) -> None:
    async def work(value: object, _: object) -> object:
        return value

    async with WorkManager(tmp_path / "w.db", workers={"work": work}) as manager:
        first = await manager.enqueue("t0", PythonWorker("work", 0))
        await first.result()
        for number in range(1, 20):
            handle = await manager.enqueue(f"t{number}", PythonWorker("work", number))
            await handle.result()
        waits = TaskTrigger.one_time(3600)
        await manager.enqueue("waits", PythonWorker("work"), trigger=waits)
        cursor = [event.seq async for event in manager.events(after=0, follow=False)][5]
    keep = Retention(completed_max=5, completed=None)
    async with WorkManager(tmp_path / "w.db", workers={"work": work}, retention=keep) as manager:
        forgotten = TaskHandle("t0", first.key, first.schedule_result, manager._opened())
        while (await manager.stats()).completed > 5:
            await asyncio.sleep(0.01)
        left = await manager.get_tasks_by_status()
        assert [record.task_id for record in left] == [*(f"t{n}" for n in range(15, 20)), "waits"]
        assert await manager.get_task("t0") is None
        events = [event async for event in manager.events(after=0, follow=False)]
        assert {event.task_id for event in events} == {record.task_id for record in left}
        with pytest.raises(CursorPrunedError):
            await anext(manager.events(after=cursor))
        result = await manager.get_handle("t15")
        assert result is not None
        assert (await result.result()).success
        for gone in (forgotten.status(), forgotten.result(), anext(forgotten.events())):
            with pytest.raises(TaskNotFoundError, match="removed"):
                await asyncio.wait_for(gone, 5)
        # The id is free, and what is new is kept.
        again = await manager.enqueue("t0", PythonWorker("work"))
        assert (await again.result()).success


@pytest.mark.parametrize("value", [-1, 2**41, "1"])
def test_a_retention_that_means_nothing_is_refused(value: Any) -> None:  # noqa: ANN401 — wrong types are the point
    for name in ("completed", "completed_max", "failed"):
        if (name, value) != ("completed", 2**41):
            with pytest.raises((InvalidArgumentError, InvalidTypeError)) as refused:
                Retention(**{name: value})
            assert refused.value.argument == name


async def test_many_thousands_are_one_transaction_in_order(tmp_path: Path) -> None:
    later = TaskTrigger.one_time(3600)
    tasks = [Task(f"t{number}", PythonWorker("w", number), trigger=later) for number in range(5000)]
    bad = Task("bad", PythonWorker("unknown\0"), trigger=later, tag="\0")
    async with WorkManager(tmp_path / "w.db", run=False, workers="elsewhere") as manager:
        with pytest.raises(InvalidArgumentError) as refused:
            await manager.enqueue_all([*tasks, bad])
        assert refused.value.argument == "tasks[5000].tag"
        assert (await manager.stats()).pending == 0
        handles = await manager.enqueue_all(tasks)
        assert [handle.task_id for handle in handles] == [f"t{number}" for number in range(5000)]
        given_up = asyncio.ensure_future(manager.enqueue_all([*tasks, *tasks]))
        await asyncio.sleep(0.02)
        given_up.cancel()
        await asyncio.gather(given_up, return_exceptions=True)
        assert (await manager.stats()).pending == 5000


async def test_the_wal_stays_short_while_commits_follow_each_other(tmp_path: Path) -> None:
    store, wal = tmp_path / "work.db", tmp_path / "work.db-wal"
    later, numbers = TaskTrigger.one_time(timedelta(hours=1)), iter(range(4000))
    lengths: list[int] = []

    async def call(manager: WorkManager) -> None:
        for _ in numbers:
            await manager.enqueue(None, PythonWorker("work", bytes(8192)), trigger=later)
            lengths.append(wal.stat().st_size)

    async with WorkManager(store, workers="elsewhere") as manager:
        await asyncio.gather(*(call(manager) for _ in range(32)))
    assert store.stat().st_size > 32 * 1024 * 1024
    assert max(lengths) < 16 * 1024 * 1024


@pytest.mark.skipif(sys.platform != "linux", reason="counted by /proc")
async def test_a_commit_of_many_pages_is_written_in_a_few_pieces(tmp_path: Path) -> None:
    later = TaskTrigger.one_time(timedelta(hours=1))
    tasks = [Task(None, PythonWorker("work", bytes(300)), trigger=later)] * 1000

    def writes() -> int:
        io = Path("/proc/self/io").read_text("ascii")
        return int(io.partition("syscw: ")[2].partition("\n")[0])

    async with WorkManager(tmp_path / "work.db", run=False, workers="elsewhere") as manager:
        await manager.enqueue_all(tasks)
        before = writes()
        await manager.enqueue_all(tasks)
        # Some 100 pages; SQLite by itself makes two system calls for each.
        assert writes() - before < 50


async def test_a_manager_that_has_drained_does_not_become_the_runner(tmp_path: Path) -> None:
    store, workers = tmp_path / "work.db", {"echo": echo}
    async with (
        WorkManager(store, workers=workers) as runner,
        WorkManager(store, workers=workers) as drained,
    ):
        await drained.drain()
        await runner.close()
        await asyncio.sleep(1.3)  # a standby tries every second
        async with WorkManager(store, workers=workers):
            handle = await drained.enqueue("y", PythonWorker("echo"))
            assert (await asyncio.wait_for(handle.result(), 5)).success


async def test_a_standby_that_cannot_open_the_lock_takes_tasks_in_all_the_same(
    tmp_path: Path,
) -> None:
    store, workers = tmp_path / "work.db", {"echo": echo}
    async with (
        WorkManager(store, workers=workers),
        WorkManager(store, workers=workers) as standby,
    ):
        lock = tmp_path / "work.db.runner"
        lock.unlink()
        lock.mkdir()
        until = asyncio.get_running_loop().time() + 2.5  # it tries every second
        while asyncio.get_running_loop().time() < until:
            worker = PythonWorker("echo")
            await asyncio.gather(*(standby.enqueue(None, worker) for _ in range(8)))
        handle = await standby.enqueue(None, worker)
        assert (await asyncio.wait_for(handle.result(), 5)).success
