"""What a process may open that was forked from one that has a store open.

SQLite knows its locks by process, and its list of them is copied by a fork: who opens the same
file in the child loses what it commits when the parent closes.
"""

from __future__ import annotations

import asyncio
import os
import pickle
from collections.abc import Awaitable, Callable
from pathlib import Path

import pytest

from outhaul import PythonWorker, TaskTrigger, WorkManager
from outhaul.errors import StoreUnavailableError

LATER = TaskTrigger.one_time(3600)

pytestmark = pytest.mark.filterwarnings(
    "ignore:This process .* is multi-threaded:DeprecationWarning"
)


async def in_a_child(work: Callable[[], Awaitable[object]]) -> object:
    """What `work` answers in a forked child."""
    reading, writing = os.pipe()
    pid = os.fork()
    if pid == 0:
        answer: object = "the child raised"
        try:
            asyncio.set_event_loop(None)
            answer = asyncio.SelectorEventLoop().run_until_complete(work())
        finally:
            os.write(writing, pickle.dumps(answer))
            os._exit(0)
    os.close(writing)
    with os.fdopen(reading, "rb") as told:
        answer = pickle.loads(await asyncio.to_thread(told.read))
    await asyncio.to_thread(os.waitpid, pid, 0)
    return answer


def opens_and_enqueues(store: Path) -> Callable[[], Awaitable[object]]:
    async def work() -> object:
        try:
            async with WorkManager(store, workers="elsewhere") as manager:
                await manager.enqueue("of the child", PythonWorker("x"), trigger=LATER)
        except StoreUnavailableError as error:
            return str(error)
        return "stored"

    return work


async def test_a_store_that_was_open_at_the_fork_is_not_opened_in_the_child(
    tmp_path: Path,
) -> None:
    store, other = tmp_path / "work.db", tmp_path / "other.db"
    async with WorkManager(store, workers="elsewhere") as manager:
        await manager.enqueue("of the parent", PythonWorker("x"), trigger=LATER)
        said = await in_a_child(opens_and_enqueues(store))
        assert "was open when this process was forked" in str(said)
        (tmp_path / "link.db").symlink_to(store)
        assert "forked" in str(await in_a_child(opens_and_enqueues(tmp_path / "link.db")))
        assert await in_a_child(opens_and_enqueues(other)) == "stored"
        # In one process it may be opened twice.
        async with WorkManager(store, workers="elsewhere") as second:
            assert await second.get_task("of the parent") is not None
        assert (await manager.stats()).pending == 1


async def test_a_store_that_was_closed_before_the_fork_is_opened_in_the_child(
    tmp_path: Path,
) -> None:
    store = tmp_path / "work.db"
    async with WorkManager(store, workers="elsewhere"):
        pass
    assert await in_a_child(opens_and_enqueues(store)) == "stored"
    async with WorkManager(store, workers="elsewhere") as manager:
        assert await manager.get_task("of the child") is not None
