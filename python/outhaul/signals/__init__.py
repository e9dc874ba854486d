"""Facts about the host that constraints are judged by, merged into one mask.

A bit that is set is a fact that holds. Only edges are reported: nobody polls the mask.
"""

from __future__ import annotations

import enum
from typing import TYPE_CHECKING, Protocol

from outhaul.signals.network import NetworkSignal

if TYPE_CHECKING:
    import asyncio
    from collections.abc import Callable

__all__ = ["HostSignals", "NetworkSignal", "Signal", "SystemSignals"]


class Signal(enum.IntFlag):
    """The facts, one bit each."""

    NETWORK_UP = 1


class SystemSignals(Protocol):
    """Where the manager learns the facts from: the host, or a test's `FakeSignals`."""

    def start(self, loop: asyncio.AbstractEventLoop, on_change: Callable[[int], None]) -> None:
        """Begins to watch.

        Args:
            loop: Where `on_change` is called.
            on_change: Is given the mask: once soon after the start, then at every change.
        """

    def close(self) -> None:
        """Ends watching: `on_change` is not called again. May be called twice."""


class HostSignals:
    """The facts of this host."""

    def __init__(self) -> None:
        self._network: NetworkSignal | None = None

    def start(self, loop: asyncio.AbstractEventLoop, on_change: Callable[[int], None]) -> None:
        """See `SystemSignals.start`."""
        self._network = NetworkSignal(
            lambda up: on_change(int(Signal.NETWORK_UP if up else Signal(0)))
        )
        self._network.start(loop)

    def close(self) -> None:
        """See `SystemSignals.close`."""
        if self._network is not None:
            self._network.close()
