"""A store and its files: one name for each, and nothing is acknowledged once they are gone."""

from __future__ import annotations

import asyncio
import contextlib
import os
import sqlite3
import sys
import time
from pathlib import Path

import pytest

from outhaul import NativeWorker, PythonWorker, Task, WorkManager
from outhaul.errors import SecurityViolationError, StoreUnavailableError


def locks_of_this_process() -> list[str]:
    lines = Path("/proc/locks").read_text(encoding="ascii").splitlines()
    locks = (line.split() for line in lines)
    return [" ".join(lock[1:]) for lock in locks if lock[4] == str(os.getpid())]


@pytest.mark.skipif(sys.platform != "linux", reason="the locks are read where Linux tells them")
async def test_a_store_cannot_be_sent_while_it_is_in_use_which_would_end_its_locks(
    tmp_path: Path,
) -> None:
    store = tmp_path / "work.db"
    (tmp_path / "link").symlink_to(store)
    async with WorkManager(store) as manager:
        await manager.stats()
        os.link(store, tmp_path / "twin")
        before = locks_of_this_process()
        for name in ("work.db", "work.db-wal", "work.db-shm", "link", "twin"):
            worker = NativeWorker.http_upload(url="http://127.0.0.1:9/", file_path=tmp_path / name)
            with pytest.raises(SecurityViolationError, match="belongs to a store"):
                await manager.enqueue(None, worker)
        assert before
        assert set(before) <= set(locks_of_this_process())


def peek(store: Path) -> None:
    """Python's own SQLite sees no lock of this process: it takes the WAL away as it closes."""
    connection = sqlite3.connect(store)
    connection.execute("SELECT count(*) FROM task").fetchone()
    connection.close()


def take_away(store: Path) -> None:
    for end in ("", "-wal", "-shm"):
        Path(f"{store}{end}").rename(f"{store}{end}.old")


@pytest.mark.parametrize("run", [True, False], ids=["a runner", "an observer"])
@pytest.mark.parametrize("disturb", [peek, take_away])
async def test_nothing_is_taken_in_once_the_files_are_gone(
    tmp_path: Path, disturb: object, *, run: bool
) -> None:
    assert callable(disturb)
    store = tmp_path / "work.db"
    async with WorkManager(store, workers="elsewhere", run=run) as manager:
        await manager.enqueue("before", PythonWorker("x"))
        disturb(store)
        for number in range(2):
            with pytest.raises(StoreUnavailableError, match="removed or replaced"):
                await manager.enqueue(f"after-{number}", PythonWorker("x"))
        assert store.exists() is (disturb is peek), "another store was made in its place"
    if disturb is take_away:
        for end in ("", "-wal", "-shm"):
            with contextlib.suppress(FileNotFoundError):
                Path(f"{store}{end}.old").rename(f"{store}{end}")
    async with WorkManager(store, workers="elsewhere", run=False) as manager:
        assert await manager.get_task("before") is not None
        for number in range(2):
            assert await manager.get_task(f"after-{number}") is None, "it was refused"
        await manager.enqueue("again", PythonWorker("x"))


async def test_what_fails_again_and_again_is_said_once(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """An outcome is kept until it can be stored, and tried twice a second."""
    store, go, begun = tmp_path / "work.db", asyncio.Event(), asyncio.Event()

    async def work(_: object, __: object) -> None:
        begun.set()
        await go.wait()

    async with WorkManager(store, workers={"work": work}, close_timeout=0) as manager:
        await manager.enqueue("x", PythonWorker("work"))
        await begun.wait()
        take_away(store)
        go.set()
        await asyncio.sleep(1.6)  # for three tries: that nothing more is said takes time to see
        said = [record.getMessage() for record in caplog.records if record.name == "outhaul"]
    assert len(said) == len(set(said)) > 0


async def test_a_store_with_two_names_is_refused(tmp_path: Path) -> None:
    store = tmp_path / "work.db"
    async with WorkManager(store):
        pass
    os.link(store, tmp_path / "snapshot.db")
    for name in ("work.db", "snapshot.db"):
        with pytest.raises(StoreUnavailableError, match="hard link"):
            async with WorkManager(tmp_path / name):
                pass
    (tmp_path / "snapshot.db").unlink()
    async with WorkManager(store):
        pass


def is_locked(path: Path) -> bool:
    """Whether anybody holds it: read, not tried, which would get in the way of who wants to."""
    if not path.exists():
        return False
    found = path.stat()
    number = f"{os.major(found.st_dev):02x}:{os.minor(found.st_dev):02x}:{found.st_ino}"
    return any(number in line for line in Path("/proc/locks").read_text("ascii").splitlines())


@pytest.mark.timeout(60)
@pytest.mark.skipif(sys.platform != "linux", reason="the lock is read where Linux tells it")
def test_a_child_that_is_forked_while_the_store_is_opened_does_not_keep_it_from_others(
    tmp_path: Path,
) -> None:
    store, lock = tmp_path / "work.db", tmp_path / "work.db.runner"

    async def fill() -> None:
        async with WorkManager(store, workers="elsewhere", durability="os") as manager:
            for _ in range(200):
                await manager.enqueue_all([Task(None, PythonWorker("x")) for _ in range(1000)])

    async def open_and_fork() -> str:
        opening = asyncio.ensure_future(WorkManager(store, workers="elsewhere").__aenter__())
        while not is_locked(lock) and not opening.done():
            await asyncio.sleep(0.001)
        child = os.fork()
        if child == 0:
            linger()
        return f"{child} {'opened' if opening.done() else 'opening'}"

    def linger() -> None:
        time.sleep(30)
        os._exit(0)

    asyncio.run(fill())
    reading, writing = os.pipe()
    parent = os.fork()
    if parent == 0:
        said = asyncio.new_event_loop().run_until_complete(open_and_fork())
        os.write(writing, said.encode())
        os._exit(0)  # at once: as if it was killed
    os.close(writing)
    child, state = os.read(reading, 40).decode().split()
    os.waitpid(parent, 0)
    try:
        assert state == "opening", "it was open before the fork: the test shows nothing"
        for _ in range(1000):  # until the child has begun
            if not is_locked(lock):
                break
            time.sleep(0.01)
        assert not is_locked(lock)
    finally:
        os.kill(int(child), 9)
