"""Wakes many who wait for the same news."""

from __future__ import annotations

import asyncio
import collections
import contextlib
from typing import Final

# At most this many go on in one turn of the loop, which takes about a millisecond.
WOKEN_MAX: Final = 32


class Pulse:
    """Those who wait for news. Who comes later waits for the next.

    What is news is written down elsewhere before `wake` is called. Whoever finds none there and
    then waits, without giving up the loop in between, misses nothing.
    """

    def __init__(self) -> None:
        self._waiting: collections.deque[asyncio.Future[None]] = collections.deque()
        # INVARIANT: while it is above 0, `_wake_some` will run, and wakes at least that many.
        self._due = 0

    async def wait(self) -> None:
        """Waits for news."""
        future = asyncio.get_running_loop().create_future()
        self._waiting.append(future)
        try:
            await future
        finally:
            if future.cancelled():
                with contextlib.suppress(ValueError):  # its turn came in the meantime
                    self._waiting.remove(future)

    def wake(self) -> None:
        """Wakes all who wait now. Cheap to call often: they are woken once."""
        if self._due == 0 and self._waiting:
            asyncio.get_running_loop().call_soon(self._wake_some)
        self._due = len(self._waiting)

    def _wake_some(self) -> None:
        for _ in range(min(WOKEN_MAX, self._due, len(self._waiting))):
            future = self._waiting.popleft()
            if not future.done():
                future.set_result(None)
        self._due = min(max(0, self._due - WOKEN_MAX), len(self._waiting))
        if self._due:
            asyncio.get_running_loop().call_soon(self._wake_some)
