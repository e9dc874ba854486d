"""P1-P4 over several processes on one file: any may ask, one runs, another stands by."""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
import time
from typing import TYPE_CHECKING

import pytest
from tests.concurrency.held_server import HeldServer
from tests.concurrency.peers import PeerProcess
from tests.crash.stored import assert_sound, endings, rows

from outhaul.testing import FlakyServer

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable
    from pathlib import Path

LARGE_BYTES = 40_000_000
TAKEOVER_S = 2.5


@pytest.fixture
def store(tmp_path: Path) -> str:
    return str(tmp_path / "work.db")


@pytest.fixture
def large(tmp_path: Path) -> str:
    path = tmp_path / "large.bin"
    with path.open("wb") as file:
        file.truncate(LARGE_BYTES)
    return str(path)


@contextlib.asynccontextmanager
async def two_processes(
    store: str,
) -> AsyncIterator[tuple[HeldServer, PeerProcess, PeerProcess]]:
    """A server, and two that have the store open: the first of them runs."""
    async with HeldServer() as server, PeerProcess() as runner, PeerProcess() as other:
        await runner.ask("open", store=store)
        await other.ask("open", store=store)
        yield server, runner, other


@contextlib.asynccontextmanager
async def two_and_a_transfer(
    store: str, file: str
) -> AsyncIterator[tuple[HeldServer, PeerProcess, PeerProcess]]:
    """As above, and the first sends the file, as the task `large`."""
    async with two_processes(store) as (server, runner, other):
        await runner.ask("enqueue", task_id="large", url=server.url, file=file)
        await server.arrived.wait()
        yield server, runner, other


def stopwatch() -> Callable[[], float]:
    start = time.perf_counter()
    return lambda: time.perf_counter() - start


async def test_what_one_process_enqueues_another_runs_and_both_see(
    tmp_path: Path, store: str
) -> None:
    async with FlakyServer() as server, PeerProcess() as runner, PeerProcess() as other:
        await runner.ask("open", store=store)
        await other.ask("open", store=store)
        names = [f"t{number}" for number in range(50)]
        for name in names:
            (tmp_path / name).write_text(name)
        follower = asyncio.create_task(other.ask("events", task_id="t49", until="completed"))
        watch = stopwatch()
        answers = [
            other.ask("enqueue", task_id=name, url=server.url, file=str(tmp_path / name))
            for name in names
        ]
        assert set(await asyncio.gather(*answers)) == {"accepted"}
        results = [peer.ask("result", task_id=name) for name in names for peer in (runner, other)]
        assert set(await asyncio.gather(*results)) == {"completed"}
        assert watch() < 5
        assert await follower == ["enqueued", "started", "completed"]
        for peer in (runner, other):
            assert await peer.ask("events", task_id="t0") == ["enqueued", "started", "completed"]
            assert await peer.ask("status", task_id="t0") == "completed"
        assert server.files.keys() == set(names)
        assert len(server.requests) == len(names)  # nobody sent anything twice
        await other.ask("close")
        await runner.ask("close")
    assert_sound(tmp_path / "work.db")
    assert rows(tmp_path / "work.db", "SELECT count(*) FROM runner") == [(1,)]


@pytest.mark.parametrize(
    "size",
    [
        pytest.param(1_000_000_000, id="while it sends"),
        pytest.param(10, id="while it waits for the answer"),
    ],
)
async def test_a_cancel_from_another_process_stops_the_transfer_within_a_second(
    tmp_path: Path, store: str, size: int
) -> None:
    """F-07, P4."""
    path = tmp_path / "file.bin"
    path.touch()
    os.truncate(path, size)
    async with two_processes(store) as (server, runner, other):
        await runner.ask("enqueue", task_id="large", url=server.url, file=str(path))
        waiter = asyncio.create_task(runner.ask("result", task_id="large"))
        await server.arrived.wait()
        watch = stopwatch()
        assert await other.ask("cancel", task_id="large") is True
        await server.gone.wait()
        assert watch() < 1
        assert await waiter == "cancelled"
        assert await other.ask("result", task_id="large") == "cancelled"
        assert await other.ask("cancel", task_id="large") is False
        # Cancelled is final: whoever runs next does not begin it again.
        await runner.ask("close")
        await other.ask("result", task_id="large")
        assert server.requests == 1


async def test_an_id_is_unique_among_the_live_tasks_of_all_processes(
    store: str, large: str
) -> None:
    async with two_processes(store) as (server, one, two):
        answers = [
            peer.ask("enqueue", task_id=f"t{number}", url=server.url, file=large)
            for number in range(20)
            for peer in (one, two)
        ]
        told = await asyncio.gather(*answers)
        for first, second in zip(told[::2], told[1::2], strict=True):
            assert sorted([first, second]) == ["accepted", "kept"]


async def test_when_the_runner_is_killed_the_standby_finishes_its_work(
    tmp_path: Path, store: str, large: str
) -> None:
    async with two_and_a_transfer(store, large) as (server, runner, standby):
        assert await standby.ask("status", task_id="large") == "running"
        server.arrived.clear()
        runner.kill()
        await asyncio.wait_for(server.arrived.wait(), TAKEOVER_S)
        # The attempt that died with its process is not counted: the one retry is still there.
        server.statuses = [503]
        server.release.set()
        assert await standby.ask("result", task_id="large") == "completed"
        seen = await standby.ask("events", task_id="large")
        first, second = ["started", "rescued"], ["started", "retry_scheduled"]
        assert seen == ["enqueued", *first, *second, "started", "completed"]
        assert len(set(server.keys)) == 1  # P3
        assert server.requests == 3
        await standby.ask("close")
    assert_sound(tmp_path / "work.db")
    assert endings(tmp_path / "work.db") == {"large": "completed"}


async def test_when_the_runner_closes_the_standby_goes_on(store: str, large: str) -> None:
    async with two_and_a_transfer(store, large) as (server, runner, standby):
        server.arrived.clear()
        await runner.ask("close")
        await server.arrived.wait()
        server.release.set()
        assert await standby.ask("result", task_id="large") == "completed"
        seen = await standby.ask("events", task_id="large")
        assert seen == ["enqueued", "started", "interrupted", "started", "completed"]


async def test_a_manager_that_is_not_to_run_never_does(store: str, large: str) -> None:
    async with HeldServer() as server, PeerProcess() as clerk, PeerProcess() as runner:
        await clerk.ask("open", store=store, run=False)
        assert await clerk.ask("enqueue", task_id="t", url=server.url, file=large) == "accepted"
        # Long enough for it to have tried to become the runner.
        with pytest.raises(TimeoutError):
            await asyncio.wait_for(server.arrived.wait(), 1.5)
        assert await clerk.ask("status", task_id="t") == "pending"
        server.release.set()
        await runner.ask("open", store=store)
        assert await clerk.ask("result", task_id="t") == "completed"


async def test_a_stopped_runner_keeps_its_tasks_and_goes_on_when_it_continues(
    store: str, large: str
) -> None:
    """A pause is no death: the kernel holds the lock, so nobody takes over and sends it twice."""
    async with two_and_a_transfer(store, large) as (server, runner, standby):
        runner.kill(signal.SIGSTOP)
        server.arrived.clear()
        with pytest.raises(TimeoutError):
            await asyncio.wait_for(server.arrived.wait(), 1.5)
        assert await standby.ask("status", task_id="large") == "running"
        server.release.set()
        runner.kill(signal.SIGCONT)
        assert await standby.ask("result", task_id="large") == "completed"
        assert server.requests == 1


async def test_a_forked_child_does_not_keep_the_runner_lock_of_a_dead_parent(
    store: str, large: str
) -> None:
    async with HeldServer() as server, PeerProcess() as runner, PeerProcess() as standby:
        await runner.ask("open", store=store)
        child = await runner.ask("fork")
        try:
            await standby.ask("open", store=store)
            await runner.ask("enqueue", task_id="large", url=server.url, file=large)
            await server.arrived.wait()
            server.arrived.clear()
            runner.kill()
            await asyncio.wait_for(server.arrived.wait(), TAKEOVER_S)
        finally:
            os.kill(child, signal.SIGKILL)
