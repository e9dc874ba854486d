"""When a task runs."""

from __future__ import annotations

from datetime import timedelta
from typing import TYPE_CHECKING

from outhaul.arguments import Value, duration_ms, unknown_keyword
from outhaul.errors import InvalidTypeError
from outhaul.wire import OneTimeSpec

if TYPE_CHECKING:
    from typing import Never


class TaskTrigger(Value[OneTimeSpec]):
    """When a task runs. Made by `one_time`; by itself it is at once."""

    __slots__ = ("wire",)

    def __init__(self, *given: object, **named: object) -> None:
        """At once: anything else is made by `one_time`.

        Raises:
            InvalidTypeError: It is given anything.
        """
        if given or named:
            raise InvalidTypeError(
                "takes nothing: write TaskTrigger.one_time(...)", argument="TaskTrigger"
            )
        self.wire = OneTimeSpec()

    @classmethod
    def one_time(
        cls, initial_delay: timedelta | float = timedelta(), **unknown: Never
    ) -> TaskTrigger:
        """Once.

        Args:
            initial_delay: How long to wait first, counted from the enqueue: a timedelta or seconds,
                at least 0. It goes on counting while no process runs.
            unknown: Refused.

        Raises:
            InvalidArgumentError: The delay is negative or longer than 10 years.
            InvalidTypeError: It is neither a timedelta nor a number.
        """
        if unknown:
            raise unknown_keyword(cls.one_time, unknown)
        trigger = cls.__new__(cls)
        trigger.wire = OneTimeSpec(initial_delay_ms=duration_ms("initial_delay", initial_delay))
        return trigger
