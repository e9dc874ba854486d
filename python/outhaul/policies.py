"""What happens when an attempt fails, and when a task id is taken."""

from __future__ import annotations

import enum
from datetime import timedelta
from typing import TYPE_CHECKING, ClassVar, Final

from outhaul.arguments import Value, duration_ms, integer, number, unknown_keyword
from outhaul.errors import InvalidArgumentError
from outhaul.wire import RetrySpec

if TYPE_CHECKING:
    from typing import Never

RETRIES_MAX: Final = 10_000
MULTIPLIER_MAX: Final = 100.0


class ExistingTaskPolicy(str, enum.Enum):
    """What an enqueue does when a live task has its id."""

    KEEP = "keep"
    REPLACE = "replace"


class RetryPolicy(Value[RetrySpec]):
    """How often a failed attempt is repeated, and when.

    The wait before retry *n* is `initial_delay * multiplier ** (n - 1)`, at most `max_delay`, with
    up to 10 % added, and never less than the server asks for: 30, 60, 120 s by default.

    Attributes:
        NONE: The first attempt is the only one.
    """

    __slots__ = ()

    NONE: ClassVar[RetryPolicy]

    def __init__(
        self,
        *,
        max_retries: int = 3,
        initial_delay: timedelta | float = timedelta(seconds=30),
        multiplier: float = 2.0,
        max_delay: timedelta | float = timedelta(hours=1),
        **unknown: Never,
    ) -> None:
        """Checks and keeps the policy.

        Args:
            max_retries: Attempts after the first one, 0 to 10,000.
            initial_delay: The wait before the first retry: a timedelta or seconds, at least 0.
            multiplier: What each further wait is multiplied by, 1 to 100.
            max_delay: No wait is longer, unless the server asks for it; at least `initial_delay`.
            unknown: Refused.

        Raises:
            InvalidArgumentError: A value out of its range.
            InvalidTypeError: A wrong type, or an argument that does not exist.
        """
        if unknown:
            raise unknown_keyword(type(self).__init__, unknown)
        initial_delay_ms = duration_ms("initial_delay", initial_delay)
        max_delay_ms = duration_ms("max_delay", max_delay)
        if max_delay_ms < initial_delay_ms:
            raise InvalidArgumentError(
                f"is {max_delay_ms / 1000:g} s: use at least initial_delay, "
                f"which is {initial_delay_ms / 1000:g} s",
                argument="max_delay",
            )
        self.wire = RetrySpec(
            max_retries=integer("max_retries", max_retries, least=0, most=RETRIES_MAX),
            initial_delay_ms=initial_delay_ms,
            multiplier=number("multiplier", multiplier, least=1.0, most=MULTIPLIER_MAX),
            max_delay_ms=max_delay_ms,
        )


RetryPolicy.NONE = RetryPolicy(max_retries=0)
