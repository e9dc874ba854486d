"""The signals that end a verb: Ctrl-C, a supervisor's SIGTERM, the SIGHUP of a closed terminal."""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
from typing import TYPE_CHECKING, Any, Final, Self

if TYPE_CHECKING:
    from collections.abc import Coroutine, Iterator
    from types import FrameType

ENDING: Final = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)

# The first has the verb end. One more is taken for the same, sent twice; this one ends at once.
LAST: Final = 3


def leave_quietly() -> None:
    """Lets Ctrl-C end the process without a traceback, before anything has begun."""
    if signal.getsignal(signal.SIGINT) is signal.default_int_handler:
        signal.signal(signal.SIGINT, lambda number, _: os._exit(_status(number)))


@contextlib.contextmanager
def interruptible() -> Iterator[None]:
    """Lets Ctrl-C raise KeyboardInterrupt, for code that cleans up after itself."""
    before = signal.getsignal(signal.SIGINT)
    if before is not signal.SIG_IGN:
        signal.signal(signal.SIGINT, signal.default_int_handler)
    try:
        yield
    finally:
        signal.signal(signal.SIGINT, before)


class Signals:
    """While it is entered, the first signal cancels the verb, which then puts things in order.

    Attributes:
        number: The first that came.
    """

    def __init__(self) -> None:
        self.number: int | None = None
        self._times = 0
        self._task: asyncio.Task[Any] | None = None
        self._before: dict[signal.Signals, Any] = {}

    def __enter__(self) -> Self:
        for number in ENDING:
            before = signal.getsignal(number)
            # What is ignored stays so: `nohup` means it, and a shell for what it runs behind.
            if before is not signal.SIG_IGN:
                self._before[number] = before
                signal.signal(number, self._take)
        return self

    def __exit__(self, *_: object) -> None:
        for number, before in self._before.items():
            signal.signal(number, before)

    async def stoppable(self, work: Coroutine[Any, Any, int]) -> int:
        """Does the work, which a signal cancels."""
        self._task = asyncio.current_task()
        if self.number is not None:
            self._cancel()
        return await work

    @property
    def status(self) -> int:
        """The exit status that says so, as a shell does."""
        return _status(self.number or signal.SIGINT)

    def _take(self, number: int, _: FrameType | None) -> None:
        self._times += 1
        if self._times == 1:
            self.number = number
            self._cancel()
        elif self._times >= LAST:
            os._exit(_status(number))

    def _cancel(self) -> None:
        if self._task is not None and not self._task.done():
            self._task.get_loop().call_soon_threadsafe(self._task.cancel)


def _status(number: int) -> int:
    return 128 + number
