"""The facts about the host, merged into one mask.

A bit that is set is a fact that holds. Only edges are reported: nobody polls the mask.
"""

from __future__ import annotations

import asyncio
import enum
from typing import TYPE_CHECKING, Final, Protocol

from outhaul.signals.battery import BatterySignal
from outhaul.signals.network import NetworkSignal

if TYPE_CHECKING:
    from collections.abc import Callable

# How long, in seconds, an opening waits for facts that are not known yet.
FIRST_S: Final = 1.0


class Signal(enum.IntFlag):
    """The facts, one bit each: the constraint bits of the core.

    Attributes:
        NETWORK: There is a network.
        BATTERY_NOT_LOW: The battery is not low, or there is none.
    """

    NETWORK = 1
    BATTERY_NOT_LOW = 2


def unmet(facts: int) -> int:
    """The constraint bits that do not hold, where these facts do."""
    return int(~Signal(facts))


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
        self._facts = self._unknown = Signal(0)
        self._on_change: Callable[[int], None] | None = None
        self._first: asyncio.TimerHandle | None = None
        self._network = NetworkSignal(lambda up: self._set(Signal.NETWORK, holds=up))
        self._battery = BatterySignal(
            lambda charged: self._set(Signal.BATTERY_NOT_LOW, holds=charged)
        )

    def start(self, loop: asyncio.AbstractEventLoop, on_change: Callable[[int], None]) -> None:
        """See `SystemSignals.start`."""
        self._on_change = on_change
        self._facts, self._unknown = Signal(0), ~Signal(0)
        self._first = loop.call_later(FIRST_S, self._wait_no_longer)
        self._network.start(loop)
        self._battery.start(loop)

    def close(self) -> None:
        """See `SystemSignals.close`."""
        self._on_change = None
        if self._first is not None:
            self._first.cancel()
        self._network.close()
        self._battery.close()

    def _set(self, fact: Signal, *, holds: bool) -> None:
        self._facts = self._facts | fact if holds else self._facts & ~fact
        self._unknown &= ~fact
        self._tell()

    def _wait_no_longer(self) -> None:
        self._first = None
        self._tell()

    def _tell(self) -> None:
        # Whether there is a network is always waited for: one that is not known is not lost.
        is_known = not self._unknown or self._first is None
        if is_known and Signal.NETWORK not in self._unknown and self._on_change is not None:
            self._on_change(int(self._facts))


class Facts:
    """The facts that the host has told last, for a listener that may come later."""

    def __init__(self) -> None:
        self._last: int | None = None
        self._listener: Callable[[int], None] | None = None

    async def watch(self, signals: SystemSignals, loop: asyncio.AbstractEventLoop) -> None:
        """Starts the signals; returns once they have told something, or take too long for it."""
        first = loop.create_future()

        def note(facts: int) -> None:
            self._last = facts
            if self._listener is not None:
                self._listener(facts)
            if not first.done():
                first.set_result(None)

        signals.start(loop, note)
        await asyncio.wait([first], timeout=2 * FIRST_S)

    def listen(self, listener: Callable[[int], None]) -> None:
        """Tells `listener` the facts that are known, and every change from now on."""
        self._listener = listener
        if self._last is not None:
            listener(self._last)
