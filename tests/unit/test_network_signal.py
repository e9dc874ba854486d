"""NetworkSignal: which routes count, and that edges of a real network namespace are reported."""

from __future__ import annotations

import asyncio
import shlex
import shutil
import subprocess
import sys
import threading
from pathlib import Path

import pytest

from outhaul.signals import BatterySignal, HostSignals, NetworkSignal, Signal
from outhaul.signals import host as host_module
from outhaul.signals import network as network_module
from outhaul.signals.network import has_route

HEADER = "Iface Destination Gateway Flags RefCnt Use Metric Mask MTU Window IRTT"
DEFAULT = "eth0 00000000 010200C0 0003 0 0 0 00000000 0 0 0"
LAN = "eth0 000200C0 00000000 0001 0 0 0 00FFFFFF 0 0 0"
ZEROS = "0" * 32


def ipv6(destination: str, name: str, flags: str = "00000003") -> str:
    hops = f"00 {ZEROS} 00 {ZEROS} 00000400 00000002 00000000"
    return f"{destination.ljust(32, '0')} {hops} {flags} {name}"


@pytest.mark.parametrize(
    ("ipv4", "ipv6_lines", "expected"),
    [
        pytest.param([], [], False, id="no route is no network"),
        pytest.param([HEADER], [], False, id="a header is no route"),
        pytest.param([HEADER, DEFAULT], [], True, id="a default route is a network"),
        pytest.param([HEADER, LAN], [], True, id="a local network is a network"),
        pytest.param([DEFAULT.replace("eth0", "lo")], [], False, id="loopback is no network"),
        pytest.param([DEFAULT.replace("eth0", "dead0")], [], False, id="a dead interface is none"),
        pytest.param(
            [DEFAULT.replace("0003", "0002")], [], False, id="a route that is down is none"
        ),
        pytest.param([DEFAULT.replace("0003", "0201")], [], False, id="a rejecting route is none"),
        pytest.param([LAN.replace("000200C0", "0000FEA9")], [], False, id="link-local is none"),
        pytest.param([], [ipv6("", "eth0")], True, id="an IPv6 default route is a network"),
        pytest.param([], [ipv6("fd", "eth0")], True, id="a private IPv6 network is a network"),
        pytest.param([], [ipv6("", "lo", "00200200")], False, id="the IPv6 reject route is none"),
        pytest.param([], [ipv6("fe8", "eth0")], False, id="IPv6 link-local is none"),
        pytest.param([], [ipv6("ff", "eth0")], False, id="IPv6 multicast is none"),
        pytest.param([LAN.replace("eth0", "docker0")], [], False, id="a host's own bridge is none"),
        pytest.param([], [ipv6("fd", "docker0")], False, id="an own bridge is none with IPv6"),
        pytest.param([DEFAULT.replace("eth0", "docker0")], [], True, id="a way over it is one"),
        pytest.param(["x", ""], ["y"], False, id="lines that say nothing are ignored"),
    ],
)
def test_a_network_is_a_route_that_leads_off_the_host(
    ipv4: list[str], ipv6_lines: list[str], expected: bool
) -> None:
    def carries(name: str, ends_there: bool) -> bool:
        return not (name == "dead0" or (name == "docker0" and ends_there))

    assert has_route(ipv4, ipv6_lines, carries) is expected


@pytest.mark.parametrize(
    ("interfaces", "leads"),
    [
        pytest.param({"it": ["device"]}, True, id="a card"),
        pytest.param({"it": ["carrier"]}, True, id="a tunnel, or a container's end of one"),
        pytest.param({"it": ["brif/veth1"], "veth1": ["carrier"]}, False, id="a bridge to it"),
        pytest.param({"it": ["brif/veth1", "brif/eth0"], "eth0": ["device"]}, True, id="and out"),
        pytest.param({"it": ["brif/bond0"], "bond0": ["lower_eth0"]}, True, id="out by a bond"),
    ],
)
def test_a_bridge_leads_off_the_host_where_a_port_of_it_does(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, interfaces: dict[str, list[str]], leads: bool
) -> None:
    """The route ends on it: with a gateway any interface leads on that is up."""
    monkeypatch.setattr(network_module, "_INTERFACES", str(tmp_path))
    for name, facts in interfaces.items():
        for fact in facts:
            (tmp_path / name / fact).mkdir(parents=True)
    state = tmp_path / "it" / "operstate"
    for says, through, expected in [
        ("up", False, leads),
        ("unknown", False, leads),
        ("up", True, True),
        ("down", True, False),
    ]:
        state.write_text(f"{says}\n")
        lines = [(DEFAULT if through else LAN).replace("eth0", "it")]
        assert has_route(lines, [], network_module._carries) is expected, says


async def test_the_state_is_told_once_after_the_start() -> None:
    told: asyncio.Queue[bool] = asyncio.Queue()
    signal = NetworkSignal(told.put_nowait)
    signal.start(asyncio.get_running_loop())
    try:
        first = await told.get()
        assert first is await asyncio.to_thread(signal.read)
    finally:
        signal.close()
    assert told.empty()


async def test_the_state_is_told_again_after_another_start() -> None:
    told: asyncio.Queue[int] = asyncio.Queue()
    signals = HostSignals()
    for _ in range(2):
        signals.start(asyncio.get_running_loop(), told.put_nowait)
        await told.get()
        signals.close()


async def test_the_first_that_is_told_is_what_the_host_is_like(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    may_answer = threading.Event()
    monkeypatch.setattr(NetworkSignal, "read", lambda _: may_answer.wait(30))
    monkeypatch.setattr(BatterySignal, "read", lambda _: True)
    told: asyncio.Queue[int] = asyncio.Queue()
    signals = HostSignals()
    signals.start(asyncio.get_running_loop(), told.put_nowait)
    await asyncio.to_thread(lambda: None)  # the battery's look is over
    await asyncio.sleep(0.01)
    assert told.empty()
    may_answer.set()
    assert await told.get() == Signal.NETWORK | Signal.BATTERY_NOT_LOW
    signals.close()


async def test_a_network_that_is_not_known_yet_is_not_told_as_lost(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(host_module, "FIRST_S", 0.01)
    may_answer = threading.Event()
    monkeypatch.setattr(NetworkSignal, "read", lambda _: may_answer.wait(30))
    told: asyncio.Queue[int] = asyncio.Queue()
    signals = HostSignals()
    signals.start(asyncio.get_running_loop(), told.put_nowait)
    await asyncio.sleep(0.1)
    assert told.empty()
    may_answer.set()
    assert await told.get() & Signal.NETWORK
    signals.close()


async def test_what_takes_too_long_to_find_out_does_not_hold_up_the_rest(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(host_module, "FIRST_S", 0.05)
    may_answer = threading.Event()
    monkeypatch.setattr(NetworkSignal, "read", lambda _: True)
    monkeypatch.setattr(BatterySignal, "read", lambda _: may_answer.wait(30))
    told: asyncio.Queue[int] = asyncio.Queue()
    signals = HostSignals()
    signals.start(asyncio.get_running_loop(), told.put_nowait)
    assert await told.get() == Signal.NETWORK
    may_answer.set()
    assert await told.get() == Signal.NETWORK | Signal.BATTERY_NOT_LOW
    signals.close()


async def test_nothing_is_told_after_the_close() -> None:
    told: list[int] = []
    signals = HostSignals()
    signals.start(asyncio.get_running_loop(), told.append)
    signals.close()
    signals.close()
    await asyncio.to_thread(lambda: None)
    await asyncio.sleep(0)
    assert told == []


async def test_the_host_s_facts_are_a_mask() -> None:
    told: asyncio.Queue[int] = asyncio.Queue()
    signals = HostSignals()
    signals.start(asyncio.get_running_loop(), told.put_nowait)
    try:
        assert await told.get() in range(int(~Signal(0)) + 1)
    finally:
        signals.close()


async def test_without_netlink_the_state_is_polled(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(network_module, "_open_netlink", lambda: None)
    monkeypatch.setattr(network_module, "POLL_S", 0.001)
    states = iter([True, True, False])
    monkeypatch.setattr(NetworkSignal, "read", lambda _: next(states, False))
    told: asyncio.Queue[bool] = asyncio.Queue()
    signal = NetworkSignal(told.put_nowait)
    signal.start(asyncio.get_running_loop())
    try:
        assert [await told.get(), await told.get()] == [True, False]
    finally:
        signal.close()


IN_A_NAMESPACE = """
import asyncio, subprocess
from outhaul.signals import NetworkSignal

def ip(*words):
    subprocess.run(("ip", *words), check=True)

async def main():
    told = asyncio.Queue()
    signal = NetworkSignal(told.put_nowait)
    signal.start(asyncio.get_running_loop())
    print(await told.get())
    ip("link", "set", "lo", "up")
    ip("link", "add", "here", "type", "veth", "peer", "name", "there")
    ip("addr", "add", "10.9.0.1/24", "dev", "here")
    ip("link", "set", "here", "up")
    ip("link", "set", "there", "up")
    print(await asyncio.wait_for(told.get(), 5))
    ip("link", "set", "there", "down")  # the far end: our route stays, the carrier goes
    print(await asyncio.wait_for(told.get(), 5))
    ip("link", "set", "there", "up")
    print(await asyncio.wait_for(told.get(), 5))
    ip("link", "delete", "here")
    print(await asyncio.wait_for(told.get(), 5))
    signal.close()
    assert told.empty()

asyncio.run(main())
"""


# /sys shows the interfaces of the namespace it was mounted in.
NAMESPACE = ("unshare", "-n", "-m", "sh", "-ec", 'mount -t sysfs none /sys; eval "$0"')


def namespace_refusal() -> str | None:
    """Why no network namespace with an interface of its own can be made here; `None` if it can."""
    if shutil.which("unshare") is None or shutil.which("ip") is None:
        return "needs the commands unshare and ip"
    attempt = subprocess.run(
        [*NAMESPACE, "ip link add here type veth peer name there"],
        capture_output=True,
        text=True,
        check=False,
    )
    return f"no network namespace: {attempt.stderr.strip()}" if attempt.returncode else None


def test_a_cable_that_is_plugged_and_pulled_is_told_at_once() -> None:
    refusal = namespace_refusal()
    if refusal:
        pytest.skip(refusal)
    ended = subprocess.run(
        [*NAMESPACE, f"{shlex.quote(sys.executable)} -c {shlex.quote(IN_A_NAMESPACE)}"],
        capture_output=True,
        text=True,
        check=False,
        cwd=Path(__file__).parent,
    )
    assert ended.stdout.split() == ["False", "True", "False", "True", "False"], ended.stderr
