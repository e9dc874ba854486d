"""Amounts, durations and foreign words as people read them."""

from __future__ import annotations

from typing import Final

_KILO: Final = 1000


class HumanProgress:
    """What a record of progress says of its rate and its end, for people."""

    __slots__ = ()

    rate_bytes_per_s: float
    remaining_ms: int | None

    @property
    def rate_human(self) -> str:
        """The rate with a unit, as in `3.4 MB/s`."""
        return f"{bytes_human(self.rate_bytes_per_s)}/s"

    @property
    def remaining_human(self) -> str:
        """The time remaining, as in `1 min 05 s`; `unknown` where nothing is known."""
        return "unknown" if self.remaining_ms is None else duration_human(self.remaining_ms)


def bytes_human(amount: float) -> str:
    """An amount of bytes for people: decimal units, one digit after the point."""
    if amount < _KILO:
        return f"{amount:.0f} B"
    for unit in ("kB", "MB", "GB"):
        amount /= _KILO
        if round(amount, 1) < _KILO:
            return f"{amount:.1f} {unit}"
    return f"{amount / _KILO:.1f} TB"


def duration_human(duration_ms: int) -> str:
    """A duration for people, rounded up to a second: the two largest units."""
    minutes, seconds = divmod(-(-duration_ms // 1000), 60)
    hours, minutes = divmod(minutes, 60)
    if hours:
        return f"{hours} h {minutes:02} min"
    return f"{minutes} min {seconds:02} s" if minutes else f"{seconds} s"


def printable(text: str) -> str:
    """Text that cannot steer a terminal or forge a line: names and servers' words are not ours."""
    if text.isprintable():
        return text
    return "".join(ch if ch.isprintable() else "\N{REPLACEMENT CHARACTER}" for ch in text)
