"""How a manager is opened: its options, checked, and the core they open."""

from __future__ import annotations

import os
import socket
from typing import TYPE_CHECKING, Final, Protocol

from outhaul._native import Core
from outhaul.arguments import (
    absolute_path,
    boolean,
    directories,
    duration_ms,
    integer,
    text,
    wrong_type,
)
from outhaul.policies import AddressPolicy, Retention
from outhaul.signals import unmet

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable
    from datetime import timedelta

    from outhaul._native import ManualClock
    from outhaul.callbacks import Callbacks

    StrPath = str | os.PathLike[str]

CONCURRENT_MAX: Final = 4096
PENDING_MAX: Final = 2**31
ANY_ADDRESS: Final = AddressPolicy.permissive()
RETENTION_DEFAULT: Final = Retention()


class Clock(Protocol):
    """A clock that a test moves: `outhaul.testing.FakeClock`."""

    @property
    def native(self) -> ManualClock:
        """What the core reads."""

    def start(self, on_move: Callable[[], None]) -> None:
        """From now on `on_move` is called when the clock has moved."""

    def close(self, on_move: Callable[[], None]) -> None:
        """From now on it is not."""


class Options:
    """The options of a `WorkManager`, whose docstring says what they mean."""

    def __init__(
        self,
        *,
        path: StrPath,
        max_concurrent: int,
        max_per_host: int,
        max_pending: int,
        retention: Retention,
        durability: str,
        allowed_roots: Iterable[StrPath] | None,
        address_policy: AddressPolicy,
        allow_http: bool,
        ca_file: StrPath | None,
        run: bool,
        close_timeout: timedelta | float,
        clock: Clock | None,
    ) -> None:
        self.path = absolute_path("path", path)
        self.max_concurrent = integer(
            "max_concurrent", max_concurrent, least=1, most=CONCURRENT_MAX
        )
        self.max_per_host = integer("max_per_host", max_per_host, least=1, most=CONCURRENT_MAX)
        self.max_pending = integer("max_pending", max_pending, least=1, most=PENDING_MAX)
        if not isinstance(retention, Retention):
            raise wrong_type("retention", retention, "a Retention")
        self.kept = retention.wire
        self.durability = text("durability", durability)
        self.roots = directories("allowed_roots", allowed_roots)
        if not isinstance(address_policy, AddressPolicy):
            raise wrong_type("address_policy", address_policy, "an AddressPolicy")
        self.address_policy = address_policy
        self.allow_http = boolean("allow_http", allow_http)
        self.ca_file = None if ca_file is None else absolute_path("ca_file", ca_file)
        self.run = boolean("run", run)
        self.close_timeout_ms = duration_ms("close_timeout", close_timeout)
        self.clock = clock

    def open(self, callbacks: Callbacks) -> Core:
        """The core. Blocks on the disk: not for the event loop."""
        return Core(
            self.path,
            durability=self.durability,
            running_max=self.max_concurrent,
            per_host_max=self.max_per_host,
            pending_max=self.max_pending,
            keep_completed_ms=self.kept.completed_ms,
            keep_completed_max=self.kept.completed_max,
            keep_failed_ms=self.kept.failed_ms,
            run=self.run,
            allowed_roots=self.roots,
            allow_http=self.allow_http,
            ca_file=self.ca_file,
            strict_addresses=self.address_policy.is_strict,
            allow_addresses=self.address_policy.allow,
            callbacks=callbacks.announce(),
            callbacks_elsewhere=callbacks.elsewhere,
            # Until the host has said otherwise, nothing holds.
            unmet=unmet(0),
            host=socket.gethostname(),
            pid=os.getpid(),
            clock=None if self.clock is None else self.clock.native,
        )
