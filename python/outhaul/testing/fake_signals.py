"""A host whose facts a test decides."""

from __future__ import annotations

from typing import TYPE_CHECKING

from outhaul.signals import Signal

if TYPE_CHECKING:
    import asyncio
    from collections.abc import Callable


class FakeSignals:
    """Signals that change when told to: `WorkManager(path, signals=FakeSignals())`.

    A loopback address counts as always connected: what goes to a `FlakyServer` needs no network.
    """

    def __init__(self, *, network_up: bool = True, battery_low: bool = False) -> None:
        self._facts = Signal(0)
        if network_up:
            self._facts |= Signal.NETWORK
        if not battery_low:
            self._facts |= Signal.BATTERY_NOT_LOW
        self._loop: asyncio.AbstractEventLoop | None = None
        self._on_change: Callable[[int], None] | None = None

    def start(self, loop: asyncio.AbstractEventLoop, on_change: Callable[[int], None]) -> None:
        """See `SystemSignals.start`."""
        self._loop, self._on_change = loop, on_change
        loop.call_soon(self._tell)

    def close(self) -> None:
        """See `SystemSignals.close`."""
        self._on_change = None

    def set_network(self, *, up: bool) -> None:
        """Connects or disconnects the host. On the loop it was started on."""
        self._set(Signal.NETWORK, holds=up)

    def set_battery(self, *, low: bool) -> None:
        """Drains or charges the host's battery. On the loop it was started on."""
        self._set(Signal.BATTERY_NOT_LOW, holds=not low)

    def _set(self, fact: Signal, *, holds: bool) -> None:
        facts = self._facts | fact if holds else self._facts & ~fact
        if facts != self._facts:
            self._facts = facts
            self._tell()

    def _tell(self) -> None:
        if self._on_change is not None:
            self._on_change(int(self._facts))
