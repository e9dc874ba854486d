"""What happens when an attempt fails, where bytes may go, how long ended tasks are kept."""

from __future__ import annotations

from datetime import timedelta
from typing import TYPE_CHECKING, ClassVar, Final, Self

import msgspec

from outhaul.arguments import (
    Value,
    duration_ms,
    integer,
    number,
    several,
    text,
    unknown_keyword,
)
from outhaul.errors import InvalidArgumentError
from outhaul.wire import MULTIPLIER_MAX, RETRIES_MAX, RetrySpec

if TYPE_CHECKING:
    from collections.abc import Iterable
    from typing import Never


_MAX_DELAY_MS: Final = RetrySpec().max_delay_ms


class RetryPolicy(Value[RetrySpec]):
    """How often a failed attempt is repeated, and when.

    The wait before retry *n* is `initial_delay * multiplier ** (n - 1)`, at most `max_delay`, with
    up to 10 % added, and never less than the server asks for: 30, 60, 120 s by default.

    Attributes:
        NONE: The first attempt is the only one.
    """

    __slots__ = ("wire",)

    NONE: ClassVar[RetryPolicy]

    def __init__(
        self,
        *,
        max_retries: int = 3,
        initial_delay: timedelta | float = timedelta(seconds=30),
        multiplier: float = 2.0,
        max_delay: timedelta | float | None = None,
        **unknown: Never,
    ) -> None:
        """Checks and keeps the policy.

        Args:
            max_retries: Attempts after the first one, 0 to 10,000.
            initial_delay: The wait before the first retry: a timedelta or seconds, at least 0.
            multiplier: What each further wait is multiplied by, 1 to 100.
            max_delay: No wait is longer, unless the server asks for it; at least `initial_delay`.
                `None` is an hour, or `initial_delay` where that is longer.
            unknown: Refused.

        Raises:
            InvalidArgumentError: A value out of its range.
            InvalidTypeError: A wrong type, or an argument that does not exist.
        """
        if unknown:
            raise unknown_keyword(type(self).__init__, unknown)
        initial_delay_ms = duration_ms("initial_delay", initial_delay)
        if max_delay is None:
            max_delay_ms = max(_MAX_DELAY_MS, initial_delay_ms)
        else:
            max_delay_ms = duration_ms("max_delay", max_delay)
            if max_delay_ms < initial_delay_ms:
                raise InvalidArgumentError(
                    f"is {max_delay_ms / 1000:g} s: use at least initial_delay, "
                    f"{initial_delay_ms / 1000:g} s",
                    argument="max_delay",
                )
        self.wire = RetrySpec(
            max_retries=integer("max_retries", max_retries, least=0, most=RETRIES_MAX),
            initial_delay_ms=initial_delay_ms,
            multiplier=number("multiplier", multiplier, least=1.0, most=MULTIPLIER_MAX),
            max_delay_ms=max_delay_ms,
        )


RetryPolicy.NONE = RetryPolicy(max_retries=0)


class AddressPolicy(msgspec.Struct, frozen=True):
    """Which addresses transfers may connect to. Made by `permissive` or `strict`.

    It judges every address that is connected to, whatever name or redirect led there. Addresses
    that can never be meant (multicast, unspecified, a cloud's metadata) are refused by both.

    Transfers use the proxies that the environment names (`HTTP_PROXY`, `HTTPS_PROXY`, `ALL_PROXY`,
    but for `NO_PROXY` and loopback). A proxy looks names up by itself: a strict policy also looks
    each up here, and judges what it finds, before the proxy is asked; who can change what a name
    leads to in between is not caught. Without a proxy, or with `NO_PROXY=*`, there is no such gap.

    Attributes:
        is_strict: Whether only public addresses are allowed.
        allow: Networks (CIDR) that are allowed whatever else holds.
    """

    is_strict: bool
    allow: tuple[str, ...]

    @classmethod
    def permissive(cls, *, allow: Iterable[str] = ()) -> Self:
        """For a program that chooses its own targets: private addresses and loopback are fine."""
        return cls(is_strict=False, allow=_networks(allow))

    @classmethod
    def strict(cls, *, allow: Iterable[str] = ()) -> Self:
        """For targets that strangers choose: public addresses, and the networks in `allow`."""
        return cls(is_strict=True, allow=_networks(allow))


def _networks(allow: Iterable[str]) -> tuple[str, ...]:
    return tuple(text("allow", network) for network in several("allow", allow, "networks"))


class Limits(msgspec.Struct, frozen=True):
    """How long tasks that have ended are kept; `None` is for ever.

    Attributes:
        completed_ms: Completed tasks.
        completed_max: At most this many of them; the oldest go.
        failed_ms: Failed, cancelled and expired ones.
    """

    completed_ms: int | None
    completed_max: int | None
    failed_ms: int | None


class Retention(Value[Limits]):
    """How long tasks that have ended are kept in the store, with their events.

    Looked at when the store is opened and every ten minutes after: of the host's time, not of a
    `FakeClock`'s.
    """

    __slots__ = ("wire",)

    def __init__(
        self,
        *,
        completed: timedelta | float | None = timedelta(days=1),
        completed_max: int | None = 100_000,
        failed: timedelta | float | None = timedelta(days=30),
        **unknown: Never,
    ) -> None:
        """Checks and keeps the limits. `None` keeps for ever.

        Args:
            completed: After how long completed tasks may go: a timedelta or seconds, 0 to 10 years.
            completed_max: How many of them are kept at most, 0 to 2**40.
            failed: After how long failed, cancelled and expired tasks may go; as `completed`.
            unknown: Refused.

        Raises:
            InvalidArgumentError: A value out of its range.
            InvalidTypeError: A wrong type, or an argument that does not exist.
        """
        if unknown:
            raise unknown_keyword(type(self).__init__, unknown)
        if completed_max is not None:
            completed_max = integer("completed_max", completed_max, least=0, most=2**40)
        self.wire = Limits(
            completed_ms=_kept_ms("completed", completed),
            completed_max=completed_max,
            failed_ms=_kept_ms("failed", failed),
        )


def _kept_ms(name: str, kept: timedelta | float | None) -> int | None:
    return None if kept is None else duration_ms(name, kept)
