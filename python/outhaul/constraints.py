"""Under which conditions a task runs."""

from __future__ import annotations

from typing import TYPE_CHECKING, ClassVar

from outhaul.arguments import Value, boolean, choice, unknown_keyword
from outhaul.errors import InvalidArgumentError
from outhaul.model import NetworkType
from outhaul.wire import ConstraintsSpec

if TYPE_CHECKING:
    from typing import Never


class Constraints(Value[ConstraintsSpec]):
    """Conditions that must hold while a task runs. Waiting for one costs no attempt.

    Attributes:
        NONE: No condition, whatever the worker.
    """

    __slots__ = ("wire",)

    NONE: ClassVar[Constraints]

    def __init__(
        self,
        *,
        network_type: NetworkType | str | None = None,
        battery_not_low: bool = False,
        requires_network: bool | None = None,
        **unknown: Never,
    ) -> None:
        """Checks and keeps the conditions.

        Args:
            network_type: The network it needs; `None` is the worker's default: `CONNECTED` for HTTP
                (a loopback address counts as always connected), none for a Python worker.
            battery_not_low: Whether it waits while the battery is at 15 % or less and not on mains;
                a host without a battery never makes it wait, nor does one whose battery is not
                read: only Linux's is.
            requires_network: Another name for `CONNECTED` (`True`) and `NOT_REQUIRED` (`False`).
            unknown: Refused.

        Raises:
            InvalidArgumentError: No such network type, or both names are given.
            InvalidTypeError: A wrong type, or a condition that does not exist.
        """
        if unknown:
            raise unknown_keyword(type(self).__init__, unknown)
        if requires_network is not None:
            network_type = _from_alias(requires_network, network_type)
        if network_type is not None:
            network_type = choice("network_type", network_type, NetworkType)
        self.wire = ConstraintsSpec(
            network_type=network_type, battery_not_low=boolean("battery_not_low", battery_not_low)
        )


def _from_alias(requires_network: object, network_type: object) -> NetworkType:
    is_required = boolean("requires_network", requires_network)
    if network_type is not None:
        raise InvalidArgumentError(
            "says the same as network_type: give one of them", argument="requires_network"
        )
    return NetworkType.CONNECTED if is_required else NetworkType.NOT_REQUIRED


Constraints.NONE = Constraints(network_type=NetworkType.NOT_REQUIRED)
