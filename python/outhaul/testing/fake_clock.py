"""Time that passes when a test says so."""

from __future__ import annotations

import contextlib
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Final

from outhaul._native import ManualClock
from outhaul.arguments import DURATION_MS_MAX, duration_ms, wrong_type
from outhaul.errors import InvalidArgumentError

if TYPE_CHECKING:
    from collections.abc import Callable

START: Final = datetime(2026, 1, 1, tzinfo=UTC)


class FakeClock:
    """A clock that stands still until told: `WorkManager(path, clock=clock)`.

    Delays, retries and `Retry-After` follow it; the time-outs of a transfer follow the host's, as
    its servers do. Managers opened with it notice every move at once. One clock may serve several
    managers, one after the other or together.
    """

    def __init__(self, start: datetime = START) -> None:
        """Stands at `start`, which must have a time zone.

        Raises:
            InvalidArgumentError: It has none.
            InvalidTypeError: It is no datetime.
        """
        if not isinstance(start, datetime):
            raise wrong_type("start", start, "a datetime")
        if start.tzinfo is None:
            raise InvalidArgumentError(
                "has no time zone: give it one, as tzinfo=UTC", argument="start"
            )
        self._wall_ms = round(start.timestamp() * 1000)
        self._native = ManualClock(wall_ms=self._wall_ms)
        self._on_move: list[Callable[[], None]] = []

    @property
    def now(self) -> datetime:
        """Where the wall clock stands, UTC."""
        return datetime.fromtimestamp(self._wall_ms / 1000, UTC)

    @property
    def now_ms(self) -> int:
        """The same in milliseconds since the Unix epoch, as `event.at_ms` counts."""
        return self._wall_ms

    def advance(self, by: timedelta | float) -> None:
        """Time passes: a timedelta or seconds, rounded up to a millisecond.

        Raises:
            InvalidArgumentError: It is negative: time does not go back. `jump` sets the wall clock.
        """
        ms = duration_ms("by", by)
        self._native.advance(ms=ms)
        self._moved(ms)

    def jump(self, by: timedelta | float) -> None:
        """Somebody sets the wall clock, forward or back; no time passes.

        Args:
            by: A timedelta or seconds, at most ten years either way, rounded up to a millisecond.

        Raises:
            InvalidArgumentError: It is more.
            InvalidTypeError: It is neither.
        """
        ms = duration_ms("by", by, least_ms=-DURATION_MS_MAX)
        self._native.jump(ms=ms)
        self._moved(ms)

    @property
    def native(self) -> ManualClock:
        """What the core reads."""
        return self._native

    def start(self, on_move: Callable[[], None]) -> None:
        """From now on `on_move` is called when the clock has moved."""
        self._on_move.append(on_move)

    def close(self, on_move: Callable[[], None]) -> None:
        """From now on it is not."""
        with contextlib.suppress(ValueError):  # it never was
            self._on_move.remove(on_move)

    def _moved(self, ms: int) -> None:
        self._wall_ms += ms
        for on_move in self._on_move:
            on_move()
