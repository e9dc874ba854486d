"""How a manager is opened and closed: any number of times, on one event loop at a time."""

from __future__ import annotations

import asyncio
import contextlib
from typing import TYPE_CHECKING, Final, Self

from outhaul.bridge import Bridge
from outhaul.errors import ManagerClosedError, WrongLoopError
from outhaul.queries import Queries
from outhaul.signals import Facts, unmet

if TYPE_CHECKING:
    from types import TracebackType

    from outhaul.callbacks import Callbacks
    from outhaul.options import Options
    from outhaul.secret_lookup import SecretLookups
    from outhaul.signals import SystemSignals

NOT_OPEN: Final = "the manager is not open: use `async with WorkManager(...)`"


class Openable:
    """A manager's opening and its close. A subclass makes the parts first."""

    _options: Options
    _callbacks: Callbacks
    _lookups: SecretLookups
    _signals: SystemSignals

    _queries: Queries | None = None  # and with them the bridge: there while it is open
    # The last opening or close. INVARIANT: while it is not done, no other begins.
    _change: asyncio.Future[None] | None = None

    async def __aenter__(self) -> Self:
        """Opens the store and takes up its tasks. Waits for a close that is under way.

        Raises:
            ManagerClosedError: It is open already.
            StoreError: It cannot be opened: says why.
            WrongLoopError: It is being opened or closed on another event loop.
        """
        await self._settled()
        if self._queries is not None and self._queries.bridge.is_stranded:
            await self.close()
            await self._settled()
        if self._queries is not None:
            raise ManagerClosedError("the manager is already open")
        change = self._change = asyncio.get_running_loop().create_future()
        try:
            await self._open()
        finally:
            change.set_result(None)
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        await self.close()

    @property
    def is_open(self) -> bool:
        """Whether it was opened and not closed since."""
        return self._queries is not None

    async def close(self) -> None:
        """Stops transfers at once and callbacks within the time-out. Their tasks will run again.

        May be called twice, also at once: every call waits for the one close, which goes on where
        a caller is cancelled. Waits for an opening that is under way.

        Raises:
            WrongLoopError: It is open on another event loop that is not closed.
        """
        await self._settled()
        if self._queries is None:
            return
        bridge = self._queries.bridge
        if not (bridge.is_broken or bridge.is_stranded):
            bridge.check()
        self._queries = None
        self._change = asyncio.ensure_future(self._close(bridge))
        await asyncio.shield(self._change)

    async def _settled(self) -> None:
        """Waits until no opening and no close is under way."""
        here = asyncio.get_running_loop()
        while (change := self._change) is not None and not change.done():
            if change.get_loop().is_closed():  # nobody will end it
                return
            if change.get_loop() is not here:
                raise WrongLoopError
            await asyncio.wait({change})

    async def _open(self) -> None:
        loop = asyncio.get_running_loop()
        facts = Facts()
        try:
            # First, so that all is judged from the beginning by what the host is like.
            await facts.watch(self._signals, loop)
            core = await asyncio.to_thread(self._options.open, self._callbacks)
        except BaseException:
            self._signals.close()
            raise
        bridge = Bridge(core, self._callbacks, self._lookups, loop)
        facts.listen(lambda known: bridge.core.set_unmet(unmet(known)))
        self._callbacks.open(bridge, threads_max=self._options.max_concurrent)
        self._lookups.open(bridge, threads_max=self._options.max_concurrent)
        try:
            if self._options.clock is not None:
                self._options.clock.start(core.poke)
        except BaseException:  # the user's own code: close again
            await self._close(bridge)
            raise
        self._queries = Queries(bridge, self._options.path)

    async def _close(self, bridge: Bridge) -> None:
        # From the last to the first, each also where the one before it has raised.
        async with contextlib.AsyncExitStack() as closing:
            closing.push_async_callback(self._callbacks.close)
            closing.push_async_callback(self._lookups.close)
            grace_ms = self._options.close_timeout_ms
            closing.push_async_callback(bridge.close, grace_ms=grace_ms)
            if self._options.clock is not None:
                closing.callback(self._options.clock.close, bridge.core.poke)
            closing.callback(self._signals.close)

    def _here(self) -> Bridge:
        """The bridge, if the manager is open. That it is used rightly is checked by each call."""
        return self._opened().bridge

    def _opened(self) -> Queries:
        """What asks, and its bridge, if the manager is open."""
        if self._queries is None:
            raise ManagerClosedError(NOT_OPEN)
        return self._queries
