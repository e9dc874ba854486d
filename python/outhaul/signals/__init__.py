"""Facts about the host that constraints are judged by, merged into one mask.

A bit that is set is a fact that holds. Only edges are reported: nobody polls the mask.
"""

from __future__ import annotations

import enum
from typing import TYPE_CHECKING, Protocol

from outhaul.signals.battery import BatterySignal
from outhaul.signals.network import NetworkSignal

if TYPE_CHECKING:
    import asyncio
    from collections.abc import Callable

__all__ = ["BatterySignal", "HostSignals", "NetworkSignal", "Signal", "SystemSignals"]


class Signal(enum.IntFlag):
    """The facts, one bit each: the constraint bits of the core."""

    NETWORK_UP = 1
    BATTERY_NOT_LOW = 2


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
    """The facts of this host. Nothing is said to hold before it is known."""

    def __init__(self) -> None:
        self._facts = Signal(0)
        self._on_change: Callable[[int], None] | None = None
        self._network = NetworkSignal(lambda up: self._set(Signal.NETWORK_UP, holds=up))
        self._battery = BatterySignal(
            lambda charged: self._set(Signal.BATTERY_NOT_LOW, holds=charged)
        )

    def start(self, loop: asyncio.AbstractEventLoop, on_change: Callable[[int], None]) -> None:
        """See `SystemSignals.start`."""
        self._on_change = on_change
        self._facts = Signal(0)
        self._network.start(loop)
        self._battery.start(loop)

    def close(self) -> None:
        """See `SystemSignals.close`."""
        self._on_change = None
        self._network.close()
        self._battery.close()

    def _set(self, fact: Signal, *, holds: bool) -> None:
        self._facts = self._facts | fact if holds else self._facts & ~fact
        if self._on_change is not None:
            self._on_change(int(self._facts))
