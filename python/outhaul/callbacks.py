"""Runs the user's own code: Python workers on the loop or in a thread, and secret providers."""

from __future__ import annotations

import asyncio
import inspect
import logging
import os
import weakref
from collections import deque
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING, Any, Final, Literal

import msgspec

from outhaul.arguments import text, wrong_type
from outhaul.errors import InvalidArgumentError, SecretUnavailableError
from outhaul.secrets import Provider, resolve_all
from outhaul.usercode import called, is_being_cancelled
from outhaul.wire import SecretRef

if TYPE_CHECKING:
    from collections.abc import Callable

    from outhaul.bridge import Bridge, CallbackRequest, SecretNames

    Callback = Callable[[Any, "TaskContext"], Any]

_LOG: Final = logging.getLogger("outhaul.callbacks")
_DECODER: Final = msgspec.msgpack.Decoder()
_ENCODER: Final = msgspec.msgpack.Encoder()
RESULT_BYTES_MAX: Final = 64 * 1024
MESSAGE_CHARS_MAX: Final = 500
# Remember at most this many tasks whose attempt was cancelled from outside.
CANCELLED_MAX: Final = 1024
# How long, in seconds, a callback that was stopped at the close may take to end.
GIVEN_UP_AFTER_S: Final = 1.0


class PermanentFailure(Exception):  # noqa: N818 — it is what the callback says, not a mistake
    """Raised by a callback to end its task as failed, without another attempt."""


class TaskContext(msgspec.Struct, frozen=True, kw_only=True, gc=False):
    """What a callback is told about its task.

    Attributes:
        task_id: The caller's id, or the generated one.
        key: The internal id: ascending, never reused.
        attempt: From 1, growing with every attempt.
    """

    task_id: str
    key: int
    attempt: int

    @property
    def idempotency_key(self) -> str:
        """The same in every attempt of this task, and in no other task of this store."""
        return f"{self.task_id}-{self.key:x}"


class Callbacks:
    """The registered callbacks and those that run."""

    def __init__(
        self,
        providers: Mapping[str, Provider] | None,
        workers: Mapping[str, Callback] | Literal["elsewhere"] | None,
    ) -> None:
        providers = {} if providers is None else providers
        if not isinstance(providers, Mapping):
            raise wrong_type("secrets", providers, "a mapping of functions")
        for name, provider in providers.items():
            if not callable(provider):
                raise wrong_type(f"secrets[{name!r}]", provider, "a function that answers a secret")
        self._providers = providers
        self._registered: dict[str, tuple[Callback, bool]] = {}  # with: is it a coroutine function
        self._running: dict[tuple[int, int], asyncio.Task[None]] = {}
        # INVARIANT: an attempt is in here for as long as its callback runs, stopped or not; so no
        # two attempts at one task run at once.
        self._inside: dict[str, asyncio.Task[None]] = {}  # by task id
        self._resolving: set[asyncio.Task[None]] = set()
        # Of both: those that we cancelled, and the keys of those that somebody else did, lately.
        self._stopped: weakref.WeakSet[asyncio.Task[None]] = weakref.WeakSet()
        self._cancelled: deque[int] = deque(maxlen=CANCELLED_MAX)
        self._announced: list[str] = []
        self._bridge: Bridge | None = None
        self.elsewhere = workers == "elsewhere"
        if isinstance(workers, Mapping):
            for name, callback in workers.items():
                self.register(text("workers", name), callback)
        elif workers is not None and not self.elsewhere:
            raise wrong_type("workers", workers, 'a mapping of callbacks or "elsewhere"')

    def announce(self) -> list[str]:
        """The names that tasks may use. What is registered later is told to the core by itself."""
        self._announced = list(self._registered)
        return self._announced

    def register(self, name: str, callback: Callback) -> None:
        """Makes a callback known; the last one of a name counts.

        Raises:
            InvalidArgumentError: It cannot be called with an input and a context.
        """
        if not callable(callback):
            raise InvalidArgumentError("is not callable", argument=f"workers[{name!r}]")
        if inspect.isgeneratorfunction(callback) or inspect.isasyncgenfunction(callback):
            raise InvalidArgumentError(
                "yields, and nobody would take what: return it", argument=f"workers[{name!r}]"
            )
        try:
            inspect.signature(callback).bind(None, None)
        except TypeError:
            raise InvalidArgumentError(
                "must take two arguments: async def callback(input, ctx)",
                argument=f"workers[{name!r}]",
            ) from None
        except ValueError:  # a builtin without a signature: the call will tell
            pass
        self._registered[name] = callback, inspect.iscoroutinefunction(callback)
        if self._bridge is not None:
            self._bridge.core.register(name)

    def open(self, bridge: Bridge, *, threads_max: int) -> None:
        """From now on outcomes go to `bridge`; at most that many threads run plain functions.

        As many more ask secret providers: one that hangs keeps its thread, and is to hold up
        neither callbacks nor whoever else uses the threads of the loop.
        """
        self._bridge = bridge
        self._threads = ThreadPoolExecutor(threads_max, "outhaul-callback")
        self._asking = ThreadPoolExecutor(threads_max, "outhaul-secret")
        # What an event loop that is gone has left behind is never known to end.
        here = asyncio.get_running_loop()
        self._inside = {id_: task for id_, task in self._inside.items() if task.get_loop() is here}
        for name in self._registered.keys() - set(self._announced):
            bridge.core.register(name)

    async def close(self) -> None:
        """Waits for what was stopped, and gives up what does not stop."""
        tasks = [*self._running.values(), *self._resolving]
        for task in tasks:
            self._stop(task)
        if tasks:
            await asyncio.wait(tasks, timeout=GIVEN_UP_AFTER_S)
        self._running.clear()
        self._resolving.clear()
        for threads in (self._threads, self._asking):
            threads.shutdown(wait=False, cancel_futures=True)
        self._bridge = None

    def run(self, request: CallbackRequest) -> None:
        """See `bridge.Work.run`."""
        key, attempt, callback_id, encoded, task_id = request
        bridge = self._bridge
        assert bridge is not None
        registered = self._registered.get(callback_id)
        if registered is None:  # its lane is a hash of its name, which another name may share
            said = f"no callback is registered as {callback_id!r}"
            bridge.core.failed(key, attempt, said, retry=True)
            return
        context = TaskContext(task_id=task_id, key=key, attempt=attempt)
        work = self._attempt(registered, encoded, context, bridge=bridge)
        task = asyncio.get_running_loop().create_task(work)
        self._running[key, attempt] = task

        def ended(task: asyncio.Task[None]) -> None:
            self._running.pop((key, attempt), None)
            if task.cancelled():  # before its first step, so that it could not say so itself
                bridge.core.interrupted(key, attempt)

        task.add_done_callback(ended)

    def stop(self, key: int, attempt: int, reason: str) -> None:  # noqa: ARG002 — the core's word; cancellation carries none
        """See `bridge.Work.stop`."""
        task = self._running.get((key, attempt))
        if task is not None:
            self._stop(task)

    def stop_all(self) -> None:
        """See `bridge.Work.stop_all`."""
        for task in list(self._running.values()):
            self._stop(task)

    def resolve(self, key: int, attempt: int, names: SecretNames) -> None:
        """See `bridge.Work.resolve`."""
        task = asyncio.get_running_loop().create_task(self._resolve(key, attempt, names))
        self._resolving.add(task)
        task.add_done_callback(self._resolving.discard)

    def _stop(self, task: asyncio.Task[None]) -> None:
        self._stopped.add(task)
        # Once: a second time would end the wait for a thread that runs on.
        if not task.cancelling():
            task.cancel()

    def _excuse(self, key: int) -> bool:
        """Says whether a cancelled attempt is made again at once, and not counted.

        Where we stopped it; and where somebody else cancelled it, as a program does that ends. But
        that only once: user's code that cancels itself would else be called again for ever.
        """
        if asyncio.current_task() in self._stopped:
            return True
        if not is_being_cancelled() or key in self._cancelled:
            return False
        self._cancelled.append(key)
        return True

    async def _attempt(
        self,
        registered: tuple[Callback, bool],
        encoded: bytes,
        context: TaskContext,
        *,
        bridge: Bridge,
    ) -> None:
        """INVARIANT: it never ends without exactly one report, unless it never begins."""
        key, attempt = context.key, context.attempt
        try:
            answer = await self._in_turn(registered, _DECODER.decode(encoded), context)
            result = _encoded(answer)
        except asyncio.CancelledError:
            if self._excuse(key):
                bridge.core.interrupted(key, attempt)
            else:
                said = "CancelledError: the callback or what it waited for was cancelled"
                bridge.core.failed(key, attempt, said, retry=True)
        except (KeyboardInterrupt, SystemExit):  # the process is to end, which interrupts
            bridge.core.interrupted(key, attempt)
            raise
        except Exception as error:  # noqa: BLE001 — whatever the user's code raises
            for_good = _for_good(error)
            if for_good is not None:
                bridge.core.failed(key, attempt, _said(for_good), retry=False)
                return
            _LOG.warning("%s: attempt %d raised", context.task_id, attempt, exc_info=error)
            said = f"{type(error).__name__}: {_said(error)}"
            bridge.core.failed(key, attempt, said, retry=True)
        except BaseException as error:  # else the attempt would run for ever
            bridge.core.failed(key, attempt, type(error).__name__, retry=True)
            raise
        else:
            if answer is False:
                bridge.core.failed(key, attempt, "the callback returned False", retry=True)
            else:
                bridge.succeeded(key, attempt, result)

    async def _in_turn(
        self, registered: tuple[Callback, bool], value: object, context: TaskContext
    ) -> object:
        """Calls back, once no earlier attempt runs: one that was stopped may take its time."""
        while (before := self._inside.get(context.task_id)) is not None:
            _LOG.info("%s: attempt %d waits for one that runs on", context.task_id, context.attempt)
            await asyncio.wait({before})
        this = asyncio.current_task()
        assert this is not None
        self._inside[context.task_id] = this
        try:
            return await self._call(registered, value, context)
        finally:
            if self._inside.get(context.task_id) is this:  # else its loop is gone
                del self._inside[context.task_id]

    async def _call(
        self, registered: tuple[Callback, bool], value: object, context: TaskContext
    ) -> object:
        callback, is_coroutine_function = registered
        if is_coroutine_function:
            return await callback(value, context)
        job = self._threads.submit(called, callback, value, context)
        running = asyncio.wrap_future(job)
        try:
            answer = await asyncio.shield(running)
        except asyncio.CancelledError:
            if job.cancel():
                raise
            # A thread can't be stopped: the attempt ends when it does, with what has come of it.
            await asyncio.wait({running})
            answer = running.result()
        return await answer if inspect.isawaitable(answer) else answer

    async def _resolve(self, key: int, attempt: int, names: SecretNames) -> None:
        assert self._bridge is not None
        core = self._bridge.core
        try:
            values = await resolve_all(
                [
                    SecretRef(source=source, name=name, prefix=prefix)
                    for source, name, prefix in names
                ],
                environ=os.environ,
                providers=self._providers,
                threads=self._asking,
            )
            core.provide(key, attempt, values)
        except SecretUnavailableError as error:
            core.withhold(key, attempt, error.message, retry=error.retry)
        except Exception as error:  # noqa: BLE001 — else the attempt would wait for ever
            # Its type alone: its text might hold what must not be logged.
            said = f"a secret cannot be used: {type(error).__name__}"
            core.withhold(key, attempt, said, retry=False)
        except asyncio.CancelledError:
            if self._excuse(key):
                core.interrupted(key, attempt)
            else:
                core.withhold(key, attempt, "who asked for a secret was cancelled", retry=True)
            raise
        except BaseException:  # the process is to end
            core.interrupted(key, attempt)
            raise


def _encoded(answer: object) -> bytes:
    try:
        encoded = _ENCODER.encode(answer)
    except Exception as error:  # its own mistake, which the same work would bring again
        raise PermanentFailure(
            f"the result cannot be stored: {_said(error)}; return None, booleans, numbers, "
            "strings, bytes, lists, dicts"
        ) from error
    if len(encoded) > RESULT_BYTES_MAX:
        raise PermanentFailure(
            f"the result takes {len(encoded)} bytes, more than {RESULT_BYTES_MAX}: "
            "write it to a file and return its path"
        )
    return encoded


def _for_good(error: Exception) -> Exception | None:
    """The failure that no other attempt mends: it is one, or a `TaskGroup` has one in its group."""
    if isinstance(error, ExceptionGroup):
        found: Exception | None = error.subgroup(PermanentFailure)
        while isinstance(found, ExceptionGroup):
            found = found.exceptions[0]
        return found
    return error if isinstance(error, PermanentFailure) else None


def _said(error: Exception) -> str:
    try:
        said = str(error)[:MESSAGE_CHARS_MAX]
    except BaseException:  # noqa: BLE001 — the user's code, while an attempt waits for a report
        said = "its text cannot be had"
    return said.encode(errors="replace").decode()
