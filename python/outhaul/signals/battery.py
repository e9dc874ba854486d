"""Is the battery charged enough? A host without one, as most servers are, always says yes.

Linux tells through `/sys/class/power_supply`; elsewhere no battery is seen. A battery changes
slowly, so a look a minute is enough. It counts as low from 15 % down, and as charged again from
20 % up, so that it does not flicker; on mains it is never low.
"""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    import asyncio
    from collections.abc import Callable

POWER_SUPPLIES: Final = "/sys/class/power_supply"
POLL_S: Final = 60.0

# SOURCE: requirements S-073: low is typically 15 %, with 5 % of hysteresis.
LOW_PERCENT: Final = 15
CHARGED_PERCENT: Final = 20


class BatterySignal:
    """Tells when the host's battery becomes low, or is no longer. Lives on one event loop."""

    def __init__(
        self, on_change: Callable[[bool], None], *, supplies: str = POWER_SUPPLIES
    ) -> None:
        """Watches nothing yet.

        Args:
            on_change: Is told whether the battery is *not* low: once soon after `start`, then at
                every change.
            supplies: Where the host tells of its power supplies.
        """
        self._on_change = on_change
        self._supplies = supplies
        self._loop: asyncio.AbstractEventLoop | None = None
        self._timer: asyncio.TimerHandle | None = None
        self._check: asyncio.Future[bool] | None = None
        self._reported: bool | None = None

    def read(self) -> bool:
        """Whether the battery is not low now. Reads files: not for the event loop."""
        charge = _charge(self._supplies)
        if charge is None:
            return True
        return charge > LOW_PERCENT if self._reported is not False else charge >= CHARGED_PERCENT

    def start(self, loop: asyncio.AbstractEventLoop) -> None:
        """Begins to watch; `loop` must be the running one."""
        self._loop = loop
        self._look()

    def close(self) -> None:
        """Ends watching: nothing is reported any more. May be called twice."""
        if self._timer is not None:
            self._timer.cancel()
        # Forgotten, so that after another start everything is told again; also a look under way.
        self._loop = self._timer = self._check = self._reported = None

    def _look(self) -> None:
        if self._loop is not None:
            self._check = self._loop.run_in_executor(None, self.read)
            self._check.add_done_callback(self._report)

    def _report(self, check: asyncio.Future[bool]) -> None:
        if self._loop is None or check is not self._check or check.cancelled():
            return
        charged = check.result()
        if charged is not self._reported:
            self._reported = charged
            self._on_change(charged)
        self._timer = self._loop.call_later(POLL_S, self._look)


def _charge(supplies: str) -> float | None:
    """The charge in percent; `None` on mains, or without a battery.

    Of several batteries the mean: a host empties one after the other.
    """
    try:
        names = os.listdir(supplies)  # noqa: PTH208 — pathlib costs 4 ms at import
    except OSError:
        return None
    kinds = {name: _fact(supplies, name, "type") for name in names}
    on_mains = any(
        kind in {"Mains", "USB"} and _fact(supplies, name, "online") == "1"
        for name, kind in kinds.items()
    )
    # A mouse has a battery too, whose scope is "Device".
    charges = [
        _fact(supplies, name, "capacity")
        for name, kind in kinds.items()
        if kind == "Battery" and _fact(supplies, name, "scope") != "Device"
    ]
    known = [int(charge) for charge in charges if charge.isdecimal()]
    return None if on_mains or not known else sum(known) / len(known)


def _fact(supplies: str, name: str, fact: str) -> str:
    try:
        with open(f"{supplies}/{name}/{fact}", "rb") as file:  # noqa: PTH123 — as above
            return file.read(64).decode("ascii", "replace").strip()
    except OSError:  # a supply tells only what it knows
        return ""
