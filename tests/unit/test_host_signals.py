"""The facts of this host: which of them is told when one comes or goes, and how it is noticed."""

from __future__ import annotations

import asyncio
import socket
import threading
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from tests.unit.test_battery_signal import battery, supplies

from outhaul.signals import BatterySignal, HostSignals, NetworkSignal, Signal
from outhaul.signals import battery as battery_module
from outhaul.signals import network as network_module

BOTH = Signal.NETWORK | Signal.BATTERY_NOT_LOW
POLL_S = 0.01


class Host:
    """What the host is like: a test changes it.

    Attributes:
        told: Every mask that its signals have told.
    """

    def __init__(self) -> None:
        self.network = self.charged = True
        self.told: asyncio.Queue[int] = asyncio.Queue()

    async def tells(self, facts: Signal) -> None:
        """Waits until it tells just that."""
        async with asyncio.timeout(5):
            while await self.told.get() != facts:
                pass


@pytest.fixture
async def host(monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Host]:
    host = Host()
    monkeypatch.setattr(NetworkSignal, "read", lambda _: host.network)
    monkeypatch.setattr(BatterySignal, "read", lambda _: host.charged)
    monkeypatch.setattr(network_module, "_open_netlink", lambda: None)
    monkeypatch.setattr(network_module, "POLL_S", POLL_S)
    monkeypatch.setattr(battery_module, "POLL_S", POLL_S)
    signals = HostSignals()
    signals.start(asyncio.get_running_loop(), host.told.put_nowait)
    await host.tells(BOTH)
    yield host
    signals.close()


async def test_a_network_that_is_lost_and_found_is_told(host: Host) -> None:
    host.network = False
    await host.tells(Signal.BATTERY_NOT_LOW)
    host.network = True
    await host.tells(BOTH)


async def test_a_battery_that_becomes_low_and_is_charged_is_told(host: Host) -> None:
    host.charged = False
    await host.tells(Signal.NETWORK)
    host.charged = True
    await host.tells(BOTH)


async def test_a_host_that_loses_both_is_told_so(host: Host) -> None:
    host.network = host.charged = False
    await host.tells(Signal(0))


async def test_a_battery_is_looked_at_again_and_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(battery_module, "POLL_S", POLL_S)
    told: asyncio.Queue[bool] = asyncio.Queue()
    signal = BatterySignal(told.put_nowait, supplies=supplies(tmp_path, battery(50)))
    signal.start(asyncio.get_running_loop())
    try:
        async with asyncio.timeout(5):
            assert await told.get() is True
            for percent, charged in ((10, False), (90, True), (15, False)):
                supplies(tmp_path, battery(percent))
                assert await told.get() is charged
    finally:
        signal.close()


async def test_a_change_while_the_routes_are_read_is_looked_at_in_the_end(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """What was read may be older than the change."""
    may_answer = threading.Event()
    begun: asyncio.Queue[None] = asyncio.Queue()
    loop = asyncio.get_running_loop()
    states = iter([True])
    most, under_way = 0, 0

    def read(_: NetworkSignal) -> bool:
        nonlocal most, under_way
        under_way += 1
        most = max(most, under_way)
        up = next(states, False)
        loop.call_soon_threadsafe(begun.put_nowait, None)
        assert may_answer.wait(20)
        under_way -= 1
        return up

    ours, kernel = socket.socketpair()
    ours.settimeout(0)
    monkeypatch.setattr(NetworkSignal, "read", read)
    monkeypatch.setattr(network_module, "_open_netlink", lambda: ours)
    monkeypatch.setattr(network_module, "DEBOUNCE_S", 0.001)
    told: asyncio.Queue[bool] = asyncio.Queue()
    signal = NetworkSignal(told.put_nowait)
    signal.start(loop)
    await begun.get()
    kernel.send(b"a link went down")
    await asyncio.sleep(0.02)
    may_answer.set()
    async with asyncio.timeout(5):
        assert [await told.get(), await told.get()] == [True, False]
    assert most == 1
    signal.close()
    kernel.close()


async def test_a_closed_signal_reads_no_descriptor_any_more(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Its number is somebody else's soon."""
    ours, kernel = socket.socketpair()
    number = ours.fileno()
    monkeypatch.setattr(NetworkSignal, "read", lambda _: True)
    monkeypatch.setattr(network_module, "_open_netlink", lambda: ours)
    signal = NetworkSignal(lambda _: None)
    signal.start(asyncio.get_running_loop())
    signal.close()
    assert not asyncio.get_running_loop().remove_reader(number)
    assert ours.fileno() == -1
    kernel.close()
