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
from typing import TYPE_CHECKING, Any, Final, Protocol, cast

from outhaul._native import release_locks_after_fork
from outhaul.errors import ForkedError, ManagerClosedError, OuthaulError, WrongLoopError, from_core
from outhaul.failures import log_failed
from outhaul.wire import SecretSource

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from outhaul._native import Core

_LOG: Final = logging.getLogger("outhaul")

# More wait for the next turn of the loop, so that no turn takes long.
BATCH_MAX: Final = 64

# This many enqueues are sent before the turn of the loop ends, so that the core begins with them.
ENQUEUE_BATCH: Final = 32

# An answer under this number is everybody's: a thread of the core has ended.
EVERYBODY: Final = 0

Scheduled = tuple[int, bool, str]
"""Key, whether it was accepted, task id."""

Reply = tuple[int, Any, tuple[str, str, str] | None]
"""Ticket, and the answer or the code, argument and message of the refusal."""

SecretNames = list[tuple[SecretSource, str, str]]
"""Source, name and prefix of each."""


_OPEN: weakref.WeakSet[Bridge] = weakref.WeakSet()


class CallbackRunner(Protocol):
    """What the core asks of Python's callbacks: implemented by `callbacks`."""

    def run(self, key: int, attempt: int, callback_id: str, encoded: bytes, task_id: str) -> None:  # noqa: PLR0917 — a request of the core
        """Runs a registered callback; its outcome goes back through the bridge."""

    def stop(self, key: int, attempt: int, reason: str) -> None:
        """Stops a callback that runs."""

    def stop_all(self) -> None:
        """Stops every callback that runs: another process may run their tasks now."""


class SecretResolver(Protocol):
    """Where the core has secrets looked up: implemented by `secret_lookup`."""

    def resolve(self, key: int, attempt: int, names: SecretNames) -> None:
        """Looks up the secrets of an attempt; they go back to the core."""


class _ClosedCore:
    """Takes the place of the core once that is closed: a late report is dropped.

    `Bridge.check` has refused every question before it comes here.
    """

    def __getattr__(self, name: str) -> Callable[..., None]:
        return lambda *_, **__: None


class Bridge:
    """Calls into the core and answers out of it, on one event loop.

    Attributes:
        is_broken: Whether a thread of the core has ended by a mistake: nobody is answered now.
    """

    def __init__(
        self,
        core: Core,
        runner: CallbackRunner,
        resolver: SecretResolver,
        loop: asyncio.AbstractEventLoop,
    ) -> None:
        self.core = core
        # Until the close: a user's callback may hold a handle, which holds this, and a handle is
        # nothing that the garbage collector looks into.
        self._runner: CallbackRunner | None = runner
        self._resolver: SecretResolver | None = resolver
        self._loop = loop
        self._thread = get_ident()
        self._ticket = 0  # the last that was given
        self._waiting: dict[int, asyncio.Future[Any]] = {}
        self._refusal: OuthaulError | type[OuthaulError] | None = None
        self.is_broken = False
        self._is_claiming = True
        self._specs: list[bytes] = []  # of the last tickets: enqueued in this turn, not across yet
        self._results: list[tuple[int, int, bytes]] = []
        self._is_flush_scheduled = False  # whether `_flush` is called at the end of this turn
        loop.add_reader(core.fileno(), self._drain)
        _OPEN.add(self)

    @property
    def is_stranded(self) -> bool:
        """Whether its event loop was closed before it: nobody can call, nor be answered."""
        return self._loop.is_closed()

    def check(self) -> None:
        """Raises unless calls are possible from here.

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
        if not self._is_flush_scheduled:
            self.check()
            self._schedule_flush()
        # Which loop runs is asked once a turn: before CPython 3.12 that is a system call.
        elif self._refusal is not None or get_ident() != self._thread:
            self.check()
        future: asyncio.Future[Scheduled] = self._loop.create_future()
        ticket = self._ticket = self._ticket + 1
        self._waiting[ticket] = future
        specs = self._specs
        specs.append(spec)
        if len(specs) == ENQUEUE_BATCH:
            self._send_enqueues()
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
            self._flush()  # calls that were made meanwhile
            self.core.enqueue_all(ticket)
            return await future
        except (Exception, asyncio.CancelledError):  # or the iterator's own
            self._waiting.pop(ticket, None)
            self.core.abandon(ticket)  # also where it was refused: its parts are kept until then
            raise

    def succeeded(self, key: int, attempt: int, result: bytes) -> None:
        """A callback has done its work. Crosses as enqueues do."""
        if not self._is_flush_scheduled:
            self._schedule_flush()
        self._results.append((key, attempt, result))

    def _new_ticket(self) -> int:
        """For a call that crosses now: it overtakes no earlier call."""
        self.check()
        self._flush()
        self._ticket += 1
        return self._ticket

    def _schedule_flush(self) -> None:
        self._is_flush_scheduled = True
        self._loop.call_soon(self._flush)

    def _send_enqueues(self) -> None:
        """Sends the enqueues of this turn to the core, under consecutive tickets."""
        specs, self._specs = self._specs, []
        self.core.enqueue(self._ticket - len(specs) + 1, specs)

    def _flush(self) -> None:
        """Sends the gathered enqueues and results to the core."""
        self._is_flush_scheduled = False
        if self._specs:
            self._send_enqueues()
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

    def claim_no_more(self) -> None:
        """Begins no attempt any more: the interpreter is exiting, and has no threads for them."""
        if self._is_claiming and self._refusal is None:
            self._is_claiming = False
            self.core.drain(self._new_ticket())  # nobody waits for the answer
            _LOG.warning("the interpreter is exiting: the remaining tasks run in the next process")

    async def close(self, *, grace_ms: int) -> None:
        """Closes the core and ends reading. Calls that still wait are told that it is closed."""
        try:
            if self.is_stranded:
                self.core.close(self._ticket + 1, 0)
            elif not self.is_broken:
                closed = self.call(self.core.close, grace_ms)
                self._refusal = ManagerClosedError
                await closed
        finally:
            if not self.is_broken:
                self._refusal = ManagerClosedError
                self._end(ManagerClosedError())
            self.core = cast("Core", _ClosedCore())
            self._runner = self._resolver = None

    def _break(self, error: OuthaulError) -> None:
        """No call will be answered any more: those that wait are told, and later ones."""
        self.is_broken = True
        self._refusal = error
        self._end(error)
        if self._runner is not None:
            self._runner.stop_all()

    def _end(self, error: OuthaulError) -> None:
        _OPEN.discard(self)
        if not self.is_stranded:
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
        runner, resolver = self._runner, self._resolver
        assert runner is not None
        assert resolver is not None
        replies, callbacks, secrets, stops, failed, errors = self.core.poll(BATCH_MAX)
        self._answer(replies)
        _pass_on(callbacks, runner.run)
        _pass_on(secrets, resolver.resolve)
        _pass_on(stops, runner.stop)
        _pass_on(((task,) for task in failed), log_failed)
        _pass_on((("%s", error) for error in errors), _LOG.error)

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
                continue  # the waiting task was cancelled


def _pass_on(requests: Iterable[tuple[Any, ...]], act: Callable[..., None]) -> None:
    for request in requests:
        try:
            act(*request)
        except Exception:  # noqa: BLE001 — our own mistake, which must not take the others along
            _LOG.exception("a request of the core was lost: %s", act.__name__)


def _after_fork() -> None:
    release_locks_after_fork()  # also those of managers that are just being opened or closed
    for bridge in list(_OPEN):
        bridge.forked()


os.register_at_fork(after_in_child=_after_fork)
