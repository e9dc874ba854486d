"""What a client tries again: what broke a few times, a server that is busy for longer."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from outhaul.errors import OuthaulError

# What broke is asked again, unless this many tries in a row come to nothing.
RECONNECTS_MAX: Final = 10
RECONNECT_AFTER_S: Final = 1.0

# A server that has no stream left is waited for, at its own pace, for this long in a row.
BUSY_MAX_S: Final = 3600.0


class PassingError(Exception):
    """What may be otherwise soon.

    Attributes:
        why: What is raised if it is not.
        busy_s: How long the server wants to be left alone, if it is only busy.
    """

    def __init__(self, why: OuthaulError, *, busy_s: float | None) -> None:
        super().__init__(str(why))
        self.why = why
        self.busy_s = busy_s


class Patience:
    """How often and how long one thing is tried again, until it succeeds."""

    def __init__(self) -> None:
        self._breaks = 0
        self._busy_s = 0.0

    async def wait(self, passing: PassingError) -> None:
        """Waits for the next try. Raises what is wrong if there is none."""
        if passing.busy_s is None:
            self._breaks += 1
            pause_s = RECONNECT_AFTER_S
        else:
            pause_s = max(passing.busy_s, RECONNECT_AFTER_S)
            self._busy_s += pause_s
        if self._breaks > RECONNECTS_MAX or self._busy_s > BUSY_MAX_S:
            raise passing.why from passing.__cause__
        await asyncio.sleep(pause_s)

    async def pause(self) -> None:
        """Waits for the next try of what has succeeded."""
        self._breaks, self._busy_s = 0, 0.0
        await asyncio.sleep(RECONNECT_AFTER_S)
