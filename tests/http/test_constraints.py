"""A transfer and what it needs of the host: it waits, it is cut short, and it is made again.

What goes to a loopback address needs no network, so the server has the address of a network card.
"""

from __future__ import annotations

import asyncio
import ipaddress
import socket
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import Self

import psutil
import pytest
from tests.concurrency.held_server import CHUNK_BYTES, HeldServer
from tests.http.conftest import Made

from outhaul import Constraints, NativeWorker, NetworkType, RetryPolicy, TaskStatus, WorkManager
from outhaul.testing import FakeSignals, FlakyServer

SIZE = 50_000_000
ONE_RETRY = RetryPolicy(max_retries=1, initial_delay=0.05)
PROXIES = ("http_proxy", "all_proxy", "HTTP_PROXY", "ALL_PROXY")


def address_of_a_card() -> str:
    """An address of this machine that is not a loopback one."""
    cards = psutil.net_if_stats()
    for name, addresses in psutil.net_if_addrs().items():
        for found in addresses:
            if found.family != socket.AF_INET or not cards[name].isup:
                continue
            if not ipaddress.ip_address(found.address).is_loopback:
                return found.address
    pytest.skip("this machine has no address but loopback")


class ServerElsewhere(HeldServer):
    """Listens where one gets to by the network."""

    port = 0

    async def __aenter__(self) -> Self:
        self._tasks = set()
        host = address_of_a_card()
        self._server = await asyncio.start_server(
            self._connected, host, self.port, limit=CHUNK_BYTES
        )
        self.port = self._server.sockets[0].getsockname()[1]
        self.url = f"http://{host}:{self.port}/upload"
        return self


@pytest.fixture
def signals() -> FakeSignals:
    return FakeSignals(network_up=False, battery_low=True)


@pytest.fixture
async def manager(
    tmp_path: Path, signals: FakeSignals, monkeypatch: pytest.MonkeyPatch
) -> AsyncIterator[WorkManager]:
    for name in PROXIES:
        monkeypatch.delenv(name, raising=False)
    async with WorkManager(tmp_path / "work.db", signals=signals, allow_http=True) as manager:
        yield manager


async def waits_for(manager: WorkManager, what: str) -> bool:
    record = await manager.get_task("x")
    assert record is not None
    return (record.status, record.waiting_on) == (TaskStatus.PENDING, what)


async def pass_by(manager: WorkManager, make: Made) -> None:
    """A later upload, which needs nothing of the host, is sent: what may begin has begun."""
    async with FlakyServer() as server:
        worker = NativeWorker.http_upload(url=server.url, file_path=make(5, "small.bin"))
        assert (await (await manager.enqueue(None, worker)).result()).success


async def test_an_upload_that_failed_for_want_of_a_network_is_made_again_when_it_is_back(
    tmp_path: Path, make: Made, monkeypatch: pytest.MonkeyPatch
) -> None:
    """S-047: ahead of its retry, which is due in an hour; but not because a manager was opened."""
    for name in PROXIES:
        monkeypatch.delenv(name, raising=False)
    store, up, server = tmp_path / "work.db", FakeSignals(), ServerElsewhere()
    async with server:
        worker = NativeWorker.http_upload(url=server.url, file_path=make(5, "a.bin"))
    async with WorkManager(store, signals=up, allow_http=True) as manager:
        retry = RetryPolicy(max_retries=1, initial_delay=3600)
        await manager.enqueue("x", worker, retry=retry)
        async with asyncio.timeout(10):
            while not await waits_for(manager, "retry"):
                await asyncio.sleep(0.01)
    async with WorkManager(store, signals=up, allow_http=True) as manager:
        await manager.wait_idle()
        assert await waits_for(manager, "retry")
        up.set_network(up=False)
        async with server:
            server.release.set()
            up.set_network(up=True)
            handle = await manager.get_handle("x")
            assert handle is not None
            assert (await asyncio.wait_for(handle.result(), 10)).success
            assert server.requests == 1


@pytest.mark.parametrize(
    ("make_server", "constraints", "waiting_on"),
    [
        pytest.param(
            ServerElsewhere,
            Constraints(network_type=NetworkType.CONNECTED),
            "network",
            id="a network",
        ),
        pytest.param(HeldServer, Constraints(battery_not_low=True), "battery", id="a battery"),
    ],
)
async def test_an_upload_waits_for_what_it_needs_and_is_cut_short_without_it(
    manager: WorkManager,
    make: Made,
    signals: FakeSignals,
    make_server: Callable[[], HeldServer],
    constraints: Constraints,
    waiting_on: str,
) -> None:
    def set_signal(*, holds: bool) -> None:
        if waiting_on == "network":
            signals.set_network(up=holds)
        else:
            signals.set_battery(low=not holds)

    async with make_server() as server:
        worker = NativeWorker.http_upload(url=server.url, file_path=make(SIZE))
        task = await manager.enqueue("x", worker, constraints=constraints, retry=ONE_RETRY)
        await pass_by(manager, make)
        assert await waits_for(manager, waiting_on)
        assert server.requests == 0
        set_signal(holds=True)
        await server.arrived.wait()
        server.arrived.clear()
        set_signal(holds=False)
        await asyncio.wait_for(server.gone.wait(), 5)
        await pass_by(manager, make)
        assert await waits_for(manager, waiting_on)
        assert server.requests == 1
        set_signal(holds=True)
        await server.arrived.wait()
        server.statuses = [503]
        server.release.set()
        assert (await task.result()).success  # the one retry was still there
        events = [event async for event in task.events()]
    cut_short, refused = ["started", "interrupted"], ["started", "retry_scheduled"]
    kinds = ["enqueued", *cut_short, *refused, "started", "completed"]
    assert [event.kind.value for event in events] == kinds
    assert "constraint" in events[2].message
    assert len(set(server.keys)) == 1


async def test_an_upload_needs_a_network_unless_it_is_told_otherwise(
    manager: WorkManager, make: Made
) -> None:
    async with ServerElsewhere() as server:
        server.release.set()
        worker = NativeWorker.http_upload(url=server.url, file_path=make())
        await manager.enqueue("x", worker)
        told = await manager.enqueue("y", worker, constraints=Constraints.NONE)
        assert (await told.result()).success
        await pass_by(manager, make)
        assert await waits_for(manager, "network")
    assert server.requests == 1


async def test_a_stored_upload_does_not_begin_before_the_host_has_told_anything(
    manager: WorkManager, make: Made
) -> None:
    async with ServerElsewhere() as server:
        worker = NativeWorker.http_upload(url=server.url, file_path=make())
        await manager.enqueue("x", worker)
        await manager.close()
        await manager.__aenter__()
        await pass_by(manager, make)
        record = await manager.get_task("x")
    assert record is not None
    assert record.attempt == 0
