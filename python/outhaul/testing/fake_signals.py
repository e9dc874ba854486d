"""A host whose facts a test decides."""

from __future__ import annotations

from typing import TYPE_CHECKING

from outhaul.signals import Signal

if TYPE_CHECKING:
    import asyncio
    from collections.abc import Callable


class FakeSignals:
    """Signals that change when told to: `WorkManager(path, signals=FakeSignals())`."""

    def __init__(self, *, network_up: bool = True) -> None:
        self._mask = _mask(network_up)
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
        mask = _mask(up)
        if mask != self._mask:
            self._mask = mask
            self._tell()

    def _tell(self) -> None:
        if self._on_change is not None:
            self._on_change(self._mask)


def _mask(network_up: bool) -> int:
    return int(Signal.NETWORK_UP) if network_up else 0
