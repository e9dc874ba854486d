"""Looks up the secrets of attempts: each attempt is answered once, and in time."""

from __future__ import annotations

import asyncio
import os
from collections.abc import Mapping
from typing import TYPE_CHECKING, Final

from outhaul.arguments import wrong_type
from outhaul.errors import SecretUnavailableError
from outhaul.secret_values import named, value_of
from outhaul.usercode import (
    CutShort,
    NoThreadError,
    StoppableTask,
    Threads,
    is_abandoned,
    stop_all,
)
from outhaul.wire import SecretRef

if TYPE_CHECKING:
    from collections.abc import Sequence

    from outhaul.bridge import Bridge, SecretNames
    from outhaul.secrets import Provider

# All secrets of one attempt are there within this many seconds of the event loop's clock, or the
# attempt ends.
RESOLVE_TIMEOUT_S: Final = 30.0


class SecretLookups:
    """Looks up the secrets of attempts, on one event loop at a time."""

    def __init__(self, providers: Mapping[str, Provider] | None) -> None:
        providers = {} if providers is None else providers
        if not isinstance(providers, Mapping):
            raise wrong_type("secrets", providers, "a mapping of functions")
        for name, provider in providers.items():
            if not callable(provider):
                raise wrong_type(f"secrets[{name!r}]", provider, "a function that answers a secret")
        self._providers = providers
        self._running: set[StoppableTask] = set()
        self._cut_short = CutShort()
        self._bridge: Bridge | None = None

    def open(self, bridge: Bridge, *, threads_max: int) -> None:
        """From now on answers go to `bridge`.

        At most that many threads read files and ask providers that are plain functions: one that
        hangs keeps its thread.
        """
        self._bridge = bridge
        self._threads = Threads(threads_max, "outhaul-secret")

    async def close(self) -> None:
        """Stops the look-ups that run, waits for their end, and gives up those that do not end."""
        try:
            await stop_all(self._running)
        finally:
            self._running.clear()
            self._threads.close()
            self._bridge = None

    def resolve(self, key: int, attempt: int, names: SecretNames) -> None:
        """See `bridge.SecretResolver.resolve`."""
        assert self._bridge is not None
        loop = asyncio.get_running_loop()
        refs = [
            SecretRef(source=source, name=name, prefix=prefix) for source, name, prefix in names
        ]
        lookup = _Lookup(self._bridge, key, attempt, refs)
        task = lookup.task = StoppableTask(self._look_up(lookup), loop=loop)
        self._running.add(task)
        # Not a time-out inside the task, which a provider's coroutine may not heed.
        deadline = loop.call_later(RESOLVE_TIMEOUT_S, lookup.expire)

        def ended(task: StoppableTask) -> None:
            self._running.discard(task)
            deadline.cancel()
            if task.cancelled():  # before its first step, so that it could not say so itself
                lookup.interrupt()

        task.add_done_callback(ended)

    async def _look_up(self, lookup: _Lookup) -> None:
        """INVARIANT: it never ends without an answer, unless it never begins."""
        values = []
        try:
            for ref in lookup.refs:
                lookup.current = ref
                value = await value_of(
                    ref,
                    environ=os.environ,
                    providers=self._providers,
                    threads=self._threads,
                )
                values.append(value)
        except BaseException as error:
            self._refuse(lookup, error)
            if not isinstance(error, (Exception, asyncio.CancelledError)):
                raise
        else:
            lookup.provide(values)

    def _refuse(self, lookup: _Lookup, error: BaseException) -> None:
        match error:
            case SecretUnavailableError():
                lookup.withhold(error.message, retry=error.retry)
            case NoThreadError(is_exiting=True):
                lookup.interrupt()
                lookup.bridge.claim_no_more()
            case NoThreadError():
                lookup.withhold(f"no thread can be had to look up a secret: {error}", retry=True)
            case asyncio.CancelledError() if self._cut_short.is_uncounted(lookup.key):
                lookup.interrupt()
            case asyncio.CancelledError():
                lookup.withhold("the look-up of a secret was cancelled", retry=True)
            case KeyboardInterrupt():  # somebody ends the process
                lookup.interrupt()
            case GeneratorExit() if is_abandoned(lookup.task):
                lookup.interrupt()
            case SystemExit() | GeneratorExit():  # as in `callbacks`, an attempt that counts
                message = f"the look-up of a secret raised {type(error).__name__}"
                lookup.withhold(message, retry=True)
            case _:  # its type alone: its text might hold what must not be logged
                message = f"a secret cannot be used: {type(error).__name__}"
                lookup.withhold(message, retry=False)


class _Lookup:
    """The secrets of one attempt, which is answered at most once."""

    def __init__(self, bridge: Bridge, key: int, attempt: int, refs: Sequence[SecretRef]) -> None:
        self.bridge = bridge
        self.key = key
        self.refs = refs
        self.current: SecretRef | None = None  # which is looked up now
        self.task: StoppableTask | None = None  # which looks up
        self._attempt = attempt
        self._is_answered = False

    def provide(self, values: Sequence[str]) -> None:
        if self._is_first():
            self.bridge.core.provide(self.key, self._attempt, values)

    def withhold(self, message: str, *, retry: bool) -> None:
        if self._is_first():
            self.bridge.core.withhold(self.key, self._attempt, message, retry=retry)

    def interrupt(self) -> None:
        if self._is_first():
            self.bridge.core.interrupted(self.key, self._attempt)

    def expire(self) -> None:
        """Its time is up."""
        what = "a secret" if self.current is None else named(self.current)
        self.withhold(f"{what} was not there within {RESOLVE_TIMEOUT_S:g} s", retry=True)
        if self.task is not None:
            self.task.stop("timeout")

    def _is_first(self) -> bool:
        is_first, self._is_answered = not self._is_answered, True
        return is_first
