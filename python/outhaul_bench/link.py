"""A link to the sink of 20 MB/s and 40 ms there and back: two network namespaces, as root.

Where the client is, 127.0.0.1 is at the other end: the sink, its certificate and its URL are as
everywhere else. `tc netem` makes the link slow; a kernel without it gets the relay instead.
"""

from __future__ import annotations

import contextlib
import os
import subprocess
from collections.abc import Iterator

from outhaul_bench import relay
from outhaul_bench.contest import NotHereError

MB_S = 20
ROUND_TRIP_MS = 40
CLIENT, SERVER = (f"outhaul-{side}-{os.getpid()}" for side in ("client", "server"))
WITHIN_CLIENT, WITHIN_SERVER = (("ip", "netns", "exec", name) for name in (CLIENT, SERVER))
_ADDRESSES = {CLIENT: "192.0.2.1/30", SERVER: "192.0.2.2/30"}  # of TEST-NET-1


@contextlib.contextmanager
def running() -> Iterator[str]:
    """The link, until the block ends. Says what makes it slow."""
    with _namespace(CLIENT), _namespace(SERVER), _devices() as (kind, near, far):
        for namespace, device in ((CLIENT, near), (SERVER, far)):
            _run(f"ip -n {namespace} address add {_ADDRESSES[namespace]} dev {device}")
            _run(f"ip -n {namespace} link set {device} up")
            # Addresses of the loopback may come in and go out here.
            _run(f"ip netns exec {namespace} sysctl -qw net.ipv4.conf.all.route_localnet=1")
        _run(f"ip -n {SERVER} link set lo up")  # and the client's stays down
        server, client = (_ADDRESSES[side].partition("/")[0] for side in (SERVER, CLIENT))
        _run(f"ip -n {CLIENT} route add 127.0.0.1 via {server} dev {near} src {client}")
        yield kind


@contextlib.contextmanager
def _namespace(name: str) -> Iterator[None]:
    _run(f"ip netns add {name}")
    try:
        yield
    finally:
        _run(f"ip netns delete {name}")


@contextlib.contextmanager
def _devices() -> Iterator[tuple[str, str, str]]:
    """What makes the link slow, and its two ends, by name."""
    near, far = "near", "far"
    if not _has_netem():
        with relay.running(WITHIN_CLIENT, SERVER, MB_S, ROUND_TRIP_MS / 2):
            yield "relay", relay.NEAR, relay.FAR
        return
    _run(f"ip -n {CLIENT} link add {near} type veth peer name {far} netns {SERVER}")
    delay = f"netem delay {ROUND_TRIP_MS / 2:g}ms rate {MB_S * 8}mbit"
    _run(f"tc -n {CLIENT} qdisc add dev {near} root {delay}")
    _run(f"tc -n {SERVER} qdisc add dev {far} root {delay}")
    yield "netem", near, far


def _has_netem() -> bool:
    tried = f"tc -n {CLIENT} qdisc add dev lo root netem delay 1ms".split()
    return subprocess.run(tried, capture_output=True, check=False).returncode == 0


def _run(command: str) -> None:
    try:
        subprocess.run(command.split(), capture_output=True, text=True, check=True)
    except FileNotFoundError as error:
        raise NotHereError(f"{error.filename} is not installed") from error
    except subprocess.CalledProcessError as error:
        raise NotHereError(f"{command}: {error.stderr.strip()}") from error
