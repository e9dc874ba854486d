"""The one reader of the core's descriptor: tickets become futures, requests become calls.

The core's threads never call into Python. They fill a queue and make a descriptor readable; the
event loop drains it here, a bounded batch at a time.
"""

from __future__ import annotations

import asyncio
import logging
import os
import weakref
from asyncio import get_running_loop
from threading import get_ident
from typing import TYPE_CHECKING, Any, Final, Protocol

from outhaul._native import release_locks_after_fork
from outhaul.errors import ForkedError, ManagerClosedError, OuthaulError, WrongLoopError, from_core
from outhaul.wire import SecretSource

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from outhaul._native import Core

_LOG: Final = logging.getLogger("outhaul")

# More wait for the next turn of the loop, so that no turn takes long.
BATCH_MAX: Final = 64

# This many enqueues cross before the turn of the loop ends, so that the core begins with them.
CROSSING: Final = 32

# An answer under this number is everybody's: a thread of the core has ended.
EVERYBODY: Final = 0

CallbackRequest = tuple[int, int, str, bytes, str]
"""Key, attempt, callback, encoded input, task id."""

Scheduled = tuple[int, bool, str]
"""Key, whether it was accepted, task id."""

Reply = tuple[int, Any, tuple[str, str, str] | None]
"""Ticket, and the answer or the code, argument and message of the refusal."""

SecretNames = list[tuple[SecretSource, str, str]]
"""Source, name and prefix of each."""


_OPEN: weakref.WeakSet[Bridge] = weakref.WeakSet()


class Work(Protocol):
    """What the core asks Python to do: implemented by `callbacks`."""

    def run(self, request: CallbackRequest) -> None:
        """Runs a registered callback; its outcome goes back through the bridge."""

    def stop(self, key: int, attempt: int, reason: str) -> None:
        """Stops a callback that runs."""

    def stop_all(self) -> None:
        """Stops every callback that runs: another process may run their tasks now."""

    def resolve(self, key: int, attempt: int, names: SecretNames) -> None:
        """Looks up the secrets of an attempt; they go back to the core."""


class Bridge:
    """Calls into the core and answers out of it, on one event loop.

    Attributes:
        is_broken: Whether a thread of the core has ended by a mistake: nobody is answered now.
    """

    def __init__(self, core: Core, work: Work, loop: asyncio.AbstractEventLoop) -> None:
        self.core = core
        self._work = work
        self._loop = loop
        self._thread = get_ident()
        self._ticket = 0  # the last that was given
        self._waiting: dict[int, asyncio.Future[Any]] = {}
        self._refusal: OuthaulError | type[OuthaulError] | None = None
        self.is_broken = False
        self._specs: list[bytes] = []  # of the last tickets: enqueued in this turn, not across yet
        self._results: list[tuple[int, int, bytes]] = []
        self._leaves = False  # whether `_leave` is called at the end of this turn
        loop.add_reader(core.fileno(), self._drain)
        _OPEN.add(self)

    def check(self) -> None:
        """Whether calls are possible from here.

        Raises:
            ManagerClosedError: It is closed.
            ForkedError: This is a forked child of the process that opened it.
            WrongLoopError: This is not the loop it was opened on.
        """
        if self._refusal is not None:
            raise self._refusal
        if get_running_loop() is not self._loop:
            raise WrongLoopError

    def enqueue(self, spec: bytes) -> asyncio.Future[Scheduled]:
        """Stores a task. What is enqueued in one turn of the loop crosses together."""
        if not self._leaves:
            self.check()
            self._leave_soon()
        # Which loop runs is asked once a turn: before CPython 3.12 that is a system call.
        elif self._refusal is not None or get_ident() != self._thread:
            self.check()
        future: asyncio.Future[Scheduled] = self._loop.create_future()
        ticket = self._ticket = self._ticket + 1
        self._waiting[ticket] = future
        specs = self._specs
        specs.append(spec)
        if len(specs) == CROSSING:
            self._cross()
        return future

    async def enqueue_all(self, parts: Iterable[list[bytes]]) -> bytes:
        """Stores several tasks, all or none: they cross in parts, a turn of the loop for each."""
        ticket = self._new_ticket()
        future: asyncio.Future[bytes] = self._loop.create_future()
        self._waiting[ticket] = future
        try:
            for part in parts:
                self.core.enqueue_part(ticket, part)
                await asyncio.sleep(0)
                if future.done():  # refused
                    break
            self._leave()  # what was called meanwhile
            self.core.enqueue_all(ticket)
            return await future
        except (Exception, asyncio.CancelledError):  # also the caller's own, who makes the parts
            self._waiting.pop(ticket, None)
            self.core.abandon(ticket)  # also where it was refused: its parts are kept until then
            raise

    def succeeded(self, key: int, attempt: int, result: bytes) -> None:
        """A callback has done its work. Crosses as enqueues do."""
        if not self._leaves:
            self._leave_soon()
        self._results.append((key, attempt, result))

    def _new_ticket(self) -> int:
        """For a call that crosses now: nothing overtakes what was called before it."""
        self.check()
        self._leave()
        self._ticket += 1
        return self._ticket

    def _leave_soon(self) -> None:
        self._leaves = True
        self._loop.call_soon(self._leave)

    def _cross(self) -> None:
        """Enqueues of this turn cross, under tickets that follow each other."""
        specs, self._specs = self._specs, []
        self.core.enqueue(self._ticket - len(specs) + 1, specs)

    def _leave(self) -> None:
        """What has gathered crosses into the core."""
        self._leaves = False
        if self._specs:
            self._cross()
        if self._results:
            self.core.succeeded(self._results)
            self._results = []

    def call(self, verb: Callable[..., None], *args: Any, **kwargs: Any) -> asyncio.Future[bytes]:  # noqa: ANN401 — whatever that verb of the core takes
        """Calls a verb of the core with a fresh ticket; the future holds its encoded answer."""
        return self._issue(self._new_ticket(), verb, *args, **kwargs)

    async def wait(self, verb: Callable[..., None], *args: Any, **kwargs: Any) -> bytes:  # noqa: ANN401 — as `call`
        """As `call`, for answers that may take forever: a cancelled wait is taken back."""
        ticket = self._new_ticket()
        try:
            return await self._issue(ticket, verb, *args, **kwargs)
        except asyncio.CancelledError:
            if self._waiting.pop(ticket, None) is not None:
                self.core.abandon(ticket)
            raise

    def _issue(
        self,
        ticket: int,
        verb: Callable[..., None],
        *args: Any,  # noqa: ANN401 — as `call`
        **kwargs: Any,  # noqa: ANN401 — as `call`
    ) -> asyncio.Future[bytes]:
        future: asyncio.Future[bytes] = self._loop.create_future()
        verb(ticket, *args, **kwargs)
        # Only after the call, which may refuse an argument; no answer comes before the next turn.
        self._waiting[ticket] = future
        return future

    async def close(self, *, grace_ms: int) -> None:
        """Closes the core and ends reading. Calls that still wait are told that it is closed."""
        if self.is_broken:
            return
        closed = self.call(self.core.close, grace_ms)
        self._refusal = ManagerClosedError
        try:
            await closed
        finally:
            self._end(ManagerClosedError())

    def _break(self, error: OuthaulError) -> None:
        """No call will be answered any more: those that wait are told, and later ones."""
        self.is_broken = True
        self._refusal = error
        self._end(error)
        self._work.stop_all()

    def _end(self, error: OuthaulError) -> None:
        _OPEN.discard(self)
        self._loop.remove_reader(self.core.fileno())
        for future in self._waiting.values():
            if not future.done():
                future.set_exception(error)
        self._waiting.clear()

    def forked(self) -> None:
        """In a forked child: lets go of the runner's lock, and refuses every call."""
        self._refusal = ForkedError
        self.core.after_fork()

    def _drain(self) -> None:
        replies, callbacks, secrets, stops, errors = self.core.poll(BATCH_MAX)
        self._answer(replies)
        for request in callbacks:
            self._work.run(request)
        for wanted in secrets:
            self._work.resolve(*wanted)
        for stop in stops:
            self._work.stop(*stop)
        for error in errors:
            _LOG.error("%s", error)

    def _answer(self, replies: Iterable[Reply]) -> None:
        waiting = self._waiting
        for ticket, answer, refusal in replies:
            future = waiting.pop(ticket, None)
            if future is None:
                if ticket == EVERYBODY and refusal is not None:
                    self._break(from_core(*refusal))
                    break
                continue
            try:
                if answer is not None:
                    future.set_result(answer)
                elif refusal is not None:
                    future.set_exception(from_core(*refusal))
            except asyncio.InvalidStateError:
                continue  # whoever waited was cancelled


def _after_fork() -> None:
    release_locks_after_fork()  # also those of managers that are just being opened or closed
    for bridge in list(_OPEN):
        bridge.forked()


os.register_at_fork(after_in_child=_after_fork)
