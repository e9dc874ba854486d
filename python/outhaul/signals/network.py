"""Is there a network? A fact about routes, not about reachability: no packet is sent to find out.

On Linux the kernel tells of every change of links, addresses and routes (rtnetlink), so a change is
known within a tenth of a second. Elsewhere, and where a sandbox forbids that, the routing table is
asked every five seconds by "connecting" a UDP socket, which sends nothing.
"""

from __future__ import annotations

import contextlib
import os
import socket
import sys
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    import asyncio
    from collections.abc import Callable, Iterable

# A cable that is plugged in makes a burst of messages; one look at its end is enough.
DEBOUNCE_S: Final = 0.1
POLL_S: Final = 5.0
PROC_BYTES_MAX: Final = 1024 * 1024

# SOURCE: linux/rtnetlink.h: links, and addresses and routes of both families.
_NETLINK_ROUTE: Final = 0
_GROUPS: Final = 0x1 | 0x10 | 0x40 | 0x100 | 0x400

_INTERFACES: Final = "/sys/class/net"

# SOURCE: linux/route.h: RTF_UP, RTF_REJECT.
_ROUTE_UP: Final = 0x1
_ROUTE_REJECT: Final = 0x200

_IPV4_LINK_LOCAL: Final = "0000FEA9"  # 169.254.0.0 as /proc/net/route writes it: little-endian
_IPV6_LOCAL: Final = ("fe8", "fe9", "fea", "feb", "ff")  # link-local and multicast

# Documentation addresses (RFC 5737, RFC 3849): never assigned, so only a default route fits them.
_ANYWHERE: Final = (
    (socket.AF_INET, ("192.0.2.1", 9)),
    (socket.AF_INET6, ("2001:db8::1", 9)),
)


class NetworkSignal:
    """Tells when the host gets or loses its network. Lives on one event loop."""

    def __init__(self, on_change: Callable[[bool], None]) -> None:
        """Watches nothing yet.

        Args:
            on_change: Is told whether there is a network, on the loop: once soon after `start`,
                then at every change.
        """
        self._on_change = on_change
        self._loop: asyncio.AbstractEventLoop | None = None
        self._socket: socket.socket | None = None
        self._timer: asyncio.TimerHandle | None = None
        self._check: asyncio.Future[bool] | None = None
        self._reported: bool | None = None

    def read(self) -> bool:
        """Whether there is a network now. Reads the routing table: not for the event loop."""
        if sys.platform == "linux":
            with contextlib.suppress(OSError):
                return has_route(_proc_lines("route"), _proc_lines("ipv6_route"), _carries)
        return _routes_anywhere()

    def start(self, loop: asyncio.AbstractEventLoop) -> None:
        """Begins to watch; `loop` must be the running one."""
        self._loop = loop
        self._socket = _open_netlink()
        if self._socket is not None:
            loop.add_reader(self._socket.fileno(), self._drain)
        self._look_in(0)

    def close(self) -> None:
        """Ends watching: nothing is reported any more. May be called twice."""
        if self._loop is None:
            return
        if self._socket is not None:
            if not self._loop.is_closed():
                self._loop.remove_reader(self._socket.fileno())
            self._socket.close()
            self._socket = None
        if self._timer is not None:
            self._timer.cancel()
        # Forgotten, so that after another start everything is told again; also a look under way,
        # which never ends where its loop goes away.
        self._loop = self._timer = self._check = self._reported = None

    def _drain(self) -> None:
        """Something changed. Its details do not matter, so a lost message doesn't either."""
        assert self._socket is not None
        try:
            while self._socket.recv(65536):
                pass
        except OSError:  # drained, or (ENOBUFS) more came than the kernel keeps
            pass
        self._look_in(DEBOUNCE_S)

    def _look_in(self, delay_s: float) -> None:
        # INVARIANT: at most one timer; a look that is under way re-arms it if something happens.
        if self._loop is not None and self._timer is None:
            self._timer = self._loop.call_later(delay_s, self._look)

    def _look(self) -> None:
        self._timer = None
        if self._loop is None:
            return
        if self._check is not None:
            self._look_in(DEBOUNCE_S)
            return
        # The routing table may be long, and reading it is blocking.
        self._check = self._loop.run_in_executor(None, self.read)
        self._check.add_done_callback(self._report)

    def _report(self, check: asyncio.Future[bool]) -> None:
        if check is not self._check:  # of an earlier start
            return
        self._check = None
        if self._loop is None or check.cancelled():
            return
        up = check.result()
        if up is not self._reported:
            self._reported = up
            self._on_change(up)
        if self._socket is None:
            self._look_in(POLL_S)


def has_route(
    ipv4: Iterable[str], ipv6: Iterable[str], carries: Callable[[str, bool], bool]
) -> bool:
    """Whether a route leads off this host: over an interface that is up, not link-local.

    Args:
        ipv4: The lines of `/proc/net/route`.
        ipv6: The lines of `/proc/net/ipv6_route`.
        carries: Called as `carries(interface, is_link_route)`: whether traffic can leave through
            it; `is_link_route` means that the destination is on that link (there is no gateway).
    """
    return any(
        carries(interface, is_link_route)
        for interface, is_link_route in (*_ipv4_routes(ipv4), *_ipv6_routes(ipv6))
    )


def _ipv4_routes(lines: Iterable[str]) -> Iterable[tuple[str, bool]]:
    for line in lines:
        match line.split():
            case [name, destination, gateway, flags, *_] if name not in {"Iface", "lo"}:
                if destination != _IPV4_LINK_LOCAL and _leads(flags):
                    yield name, int(destination, 16) != 0 and int(gateway, 16) == 0


def _ipv6_routes(lines: Iterable[str]) -> Iterable[tuple[str, bool]]:
    for line in lines:
        match line.split():
            case [destination, _, _, _, gateway, *_, flags, name] if name != "lo":
                if not destination.startswith(_IPV6_LOCAL) and _leads(flags):
                    yield name, int(destination, 16) != 0 and int(gateway, 16) == 0


def _leads(flags: str) -> bool:
    return int(flags, 16) & (_ROUTE_UP | _ROUTE_REJECT) == _ROUTE_UP


def _carries(interface: str, is_link_route: bool) -> bool:
    # Tunnels and the like say "unknown" for as long as they exist.
    try:
        with open(f"{_INTERFACES}/{interface}/operstate", "rb") as file:  # noqa: PTH123 — pathlib costs 4 ms at import
            if file.read(32).strip() not in {b"up", b"unknown"}:
                return False
    except OSError:
        return True
    return not (is_link_route and _is_of_this_host(interface))


def _is_of_this_host(interface: str) -> bool:
    """Whether it is a bridge to containers or virtual machines only: no port of it leads out."""
    try:
        ports = os.listdir(f"{_INTERFACES}/{interface}/brif")  # noqa: PTH208 — as above
    except OSError:  # no bridge
        return False
    return not any(_leads_out(port) for port in ports)


def _leads_out(port: str) -> bool:
    # A card is a device; a bond or a VLAN is on top of one.
    try:
        facts = os.listdir(f"{_INTERFACES}/{port}")  # noqa: PTH208 — as above
    except OSError:
        return True
    return any(fact == "device" or fact.startswith("lower_") for fact in facts)


def _proc_lines(table: str) -> list[str]:
    try:
        with open(f"/proc/net/{table}", "rb") as file:  # noqa: PTH123 — as above
            return file.read(PROC_BYTES_MAX).decode("ascii", "replace").splitlines()
    except FileNotFoundError:  # a kernel without IPv6
        return []


def _routes_anywhere() -> bool:
    for family, address in _ANYWHERE:
        with contextlib.suppress(OSError), socket.socket(family, socket.SOCK_DGRAM) as probe:
            probe.connect(address)
            return True
    return False


def _open_netlink() -> socket.socket | None:
    if sys.platform != "linux":
        return None
    watch: socket.socket | None = None
    try:
        watch = socket.socket(
            socket.AF_NETLINK, socket.SOCK_RAW | socket.SOCK_NONBLOCK, _NETLINK_ROUTE
        )
        watch.bind((0, _GROUPS))
    except OSError:  # a sandbox
        if watch is not None:
            watch.close()
        return None
    return watch
