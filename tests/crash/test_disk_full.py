"""P1 on a full disk: what was acknowledged stays, what does not fit is refused, then it works."""

from __future__ import annotations

import asyncio
import contextlib
import os
import subprocess
import threading
from typing import TYPE_CHECKING

import pytest
from tests.concurrency.held_server import HeldServer
from tests.concurrency.peers import PeerProcess, RefusedError
from tests.crash.stored import assert_sound, task_ids

from outhaul import EventKind, NativeWorker, PythonWorker, TaskStatus, WorkManager
from outhaul.errors import StoreError, StoreFullError

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

BLOCKS = 2 * 1024 * 1024
TASK_BYTES = 50_000


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A file system of 2 MiB."""
    disk = tmp_path / "disk"
    disk.mkdir()
    mount = ["mount", "-t", "tmpfs", "-o", f"size={BLOCKS}", "outhaul-test", str(disk)]
    try:
        subprocess.run(mount, check=True, capture_output=True)
    except (OSError, subprocess.CalledProcessError):
        pytest.skip("a small file system takes the right to mount one")
    yield disk
    subprocess.run(["umount", "--lazy", str(disk)], check=True)


def large() -> PythonWorker:
    return PythonWorker("elsewhere", os.urandom(TASK_BYTES))


@pytest.mark.timeout(60)
async def test_a_full_disk_refuses_the_new_keeps_the_old_and_recovers(small_disk: Path) -> None:
    store = small_disk / "work.db"
    ballast = small_disk / "ballast"
    ballast.write_bytes(bytes(BLOCKS // 2))
    acknowledged = []
    async with WorkManager(store, workers="elsewhere") as manager:

        async def enqueue_until_full() -> None:
            for number in range(1000):
                handle = await manager.enqueue(f"before-{number}", large())
                acknowledged.append(handle.task_id)

        with pytest.raises(StoreFullError, match=r"no space left .* nothing was stored"):
            await enqueue_until_full()
        assert len(acknowledged) > 3
        # Reading goes on, and what was refused is not there.
        for task_id in acknowledged:
            assert await manager.get_task_status(task_id) == TaskStatus.PENDING
        assert await manager.get_task(f"before-{len(acknowledged)}") is None
        with pytest.raises(StoreError):
            await manager.enqueue("still-full", large())
        ballast.unlink()
        acknowledged.append((await manager.enqueue("after", large())).task_id)
        assert await manager.cancel("before-0")
    assert_sound(store)
    assert task_ids(store) == acknowledged


@pytest.mark.timeout(60)
async def test_many_refused_at_once_are_all_told_and_none_is_stored(small_disk: Path) -> None:
    store = small_disk / "work.db"
    async with WorkManager(store, workers="elsewhere") as manager:
        enqueues = [manager.enqueue(f"t{number}", large()) for number in range(100)]
        answers = await asyncio.gather(*enqueues, return_exceptions=True)
        accepted = {f"t{n}" for n, a in enumerate(answers) if not isinstance(a, BaseException)}
        refused = [answer for answer in answers if isinstance(answer, BaseException)]
        assert refused
        assert all(isinstance(error, StoreFullError) for error in refused)
    assert set(task_ids(store)) == accepted
    assert_sound(store)


@pytest.mark.timeout(60)
async def test_a_file_that_may_not_grow_refuses_the_new_keeps_the_old_and_recovers(
    tmp_path: Path,
) -> None:
    """The same without rights: a limit on the size of files, in a process of its own."""
    store = tmp_path / "work.db"
    acknowledged = []
    async with PeerProcess() as peer:
        await peer.ask("open", store=str(store))
        await peer.ask("limit_file_size", size=1024 * 1024)

        async def enqueue_until_full() -> None:
            for number in range(1000):
                await peer.ask("ballast", task_id=f"t{number}", size=TASK_BYTES)
                acknowledged.append(f"t{number}")

        with pytest.raises(RefusedError) as refusal:
            await enqueue_until_full()
        assert refusal.value.kind in {"StoreFullError", "StoreUnavailableError"}
        assert len(acknowledged) > 3
        assert await peer.ask("status", task_id="t0") == "pending"
        await peer.ask("limit_file_size", size=None)
        await peer.ask("ballast", task_id="after", size=TASK_BYTES)
        acknowledged.append("after")
        peer.kill()
        await peer.wait()
    assert_sound(store)
    assert task_ids(store) == acknowledged


def fill(disk: Path) -> Path:
    """Takes the last byte."""
    ballast = disk / "ballast"
    with ballast.open("ab", buffering=0) as file, contextlib.suppress(OSError):
        while file.write(bytes(4096)):
            pass
    return ballast


@pytest.mark.timeout(60)
async def test_an_upload_that_ends_on_a_full_disk_is_recorded_later_and_not_sent_again(
    small_disk: Path, tmp_path: Path
) -> None:
    (tmp_path / "photo").write_bytes(b"x" * 1000)
    async with (
        HeldServer() as server,
        WorkManager(small_disk / "work.db", workers="elsewhere") as manager,
    ):
        worker = NativeWorker.http_upload(url=server.url, file_path=tmp_path / "photo")
        handle = await manager.enqueue("photo", worker)
        await server.arrived.wait()
        ballast = fill(small_disk)
        server.release.set()
        await server.answered.wait()
        with pytest.raises(StoreFullError):
            await manager.enqueue("more", large())
        assert await handle.status() == TaskStatus.RUNNING
        ballast.unlink()
        assert (await handle.result()).success
        assert server.requests == 1


@pytest.mark.timeout(60)
async def test_a_standby_takes_over_on_a_full_disk_as_soon_as_there_is_room(
    small_disk: Path, tmp_path: Path
) -> None:
    (tmp_path / "photo").write_bytes(b"x" * 1000)
    store = str(small_disk / "work.db")
    async with HeldServer() as server, PeerProcess() as runner, PeerProcess() as standby:
        await runner.ask("open", store=store)
        await standby.ask("open", store=store)
        await runner.ask("enqueue", task_id="photo", url=server.url, file=str(tmp_path / "photo"))
        await server.arrived.wait()
        server.arrived.clear()
        ballast = fill(small_disk)
        runner.kill()
        # Long enough to have tried, and failed to write that it runs now.
        with pytest.raises(TimeoutError):
            await asyncio.wait_for(server.arrived.wait(), 1.5)
        ballast.unlink()
        server.release.set()
        result = standby.ask("result", task_id="photo")
        assert await asyncio.wait_for(result, 10) == "completed"


@pytest.mark.timeout(60)
async def test_closing_on_a_full_disk_begins_nothing_and_ends(
    small_disk: Path, tmp_path: Path
) -> None:
    (tmp_path / "photo").write_bytes(b"x" * 1000)
    async with HeldServer() as server:
        async with WorkManager(
            small_disk / "work.db", max_concurrent=1, close_timeout=1.5
        ) as manager:
            for number in range(3):
                worker = NativeWorker.http_upload(url=server.url, file_path=tmp_path / "photo")
                await manager.enqueue(f"t{number}", worker)
            await server.arrived.wait()
            ballast = fill(small_disk)
            await asyncio.wait_for(manager.close(), 5)
        assert server.requests == 1
        ballast.unlink()
        server.release.set()
        async with WorkManager(small_disk / "work.db") as manager:
            await manager.wait_idle()
            assert (await manager.stats()).completed == 3


@pytest.mark.timeout(60)
async def test_a_function_that_ends_on_a_full_disk_while_the_manager_closes_is_not_done_again(
    small_disk: Path,
) -> None:
    began, may_end = threading.Event(), threading.Event()
    calls = []

    def work(_: object, __: object) -> bool:
        calls.append(1)
        began.set()
        return may_end.wait(30)

    store, workers = small_disk / "work.db", {"work": work}
    async with WorkManager(store, workers=workers, close_timeout=20) as manager:
        await manager.enqueue("x", PythonWorker("work"))
        await asyncio.to_thread(began.wait, 30)
        ballast = fill(small_disk)
        closing = asyncio.ensure_future(manager.close())
        may_end.set()
        await asyncio.sleep(0.7)  # it has ended, and its end could not be stored
        assert not closing.done()
        ballast.unlink()
        await closing
    async with WorkManager(store, workers=workers) as manager:
        kinds = [event.kind async for event in manager.events(after=0, follow=False)]
    assert kinds == [EventKind.ENQUEUED, EventKind.STARTED, EventKind.COMPLETED]
    assert calls == [1]


@pytest.mark.timeout(60)
async def test_a_drained_manager_begins_nothing_after_a_full_disk(
    small_disk: Path, tmp_path: Path
) -> None:
    (tmp_path / "photo").write_bytes(b"x" * 1000)
    async with HeldServer() as server:
        async with WorkManager(small_disk / "work.db", workers="elsewhere") as manager:
            await manager.drain()
            worker = NativeWorker.http_upload(url=server.url, file_path=tmp_path / "photo")
            await manager.enqueue("photo", worker)
            ballast = fill(small_disk)
            with pytest.raises(StoreFullError):
                await manager.enqueue("more", large())
            ballast.unlink()
            await manager.enqueue("more", large())
            assert await manager.get_task_status("photo") == TaskStatus.PENDING
        assert server.requests == 0
