"""Runs the user's callbacks: coroutine functions on the loop, plain functions in threads."""

from __future__ import annotations

import asyncio
import contextvars
import inspect
import logging
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, Final, Literal

import msgspec

from outhaul.arguments import text, wrong_type
from outhaul.errors import InvalidArgumentError
from outhaul.results import FALSE, encoded, permanent_failure
from outhaul.usercode import (
    CutShort,
    NoThreadError,
    StoppableTask,
    Threads,
    described,
    is_abandoned,
    said,
    stop_all,
)

if TYPE_CHECKING:
    from collections.abc import Callable

    from outhaul.bridge import Bridge

    Callback = Callable[[Any, "TaskContext"], Any]

_LOG: Final = logging.getLogger("outhaul.callbacks")
_DECODER: Final = msgspec.msgpack.Decoder()


class TaskContext(msgspec.Struct, frozen=True, kw_only=True, gc=False):
    """What a callback is told about its task.

    A coroutine that is to stop is cancelled, and its `asyncio.CancelledError` has the reason as its
    argument: `cancelled` (the task has ended for good), `shutdown` (the manager closes),
    `constraint_lost` (a condition of the task no longer holds) or `crash` (outhaul has broken). It
    has none where another scope has taken it on, as a `TaskGroup` does.

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


class _AttemptTask(StoppableTask):
    """What one attempt runs in.

    It and its coroutines are nearly all that an attempt allocates: with more, the garbage
    collector looks through the whole process four times a second.
    """

    __slots__ = ("attempt", "bridge", "key")

    attempt: int
    bridge: Bridge
    key: int


class Callbacks:
    """The registered callbacks and those that run."""

    def __init__(self, workers: Mapping[str, Callback] | Literal["elsewhere"] | None) -> None:
        self._registered: dict[str, tuple[Callback, bool]] = {}  # with: is it a coroutine function
        self._running: dict[tuple[int, int], StoppableTask] = {}
        # INVARIANT: an attempt is in here for as long as its callback runs, stopped or not; so no
        # two attempts at one task run at once.
        self._active_by_task_id: dict[str, asyncio.Task[Any]] = {}
        self._context = contextvars.Context()  # of what asyncio calls here: one for all of them
        self._cut_short = CutShort()
        self._announced: list[str] = []
        self._bridge: Bridge | None = None
        self.elsewhere = workers == "elsewhere"
        if isinstance(workers, Mapping):
            for name, callback in workers.items():
                self.register(text("workers", name), callback)
        elif workers is not None and not self.elsewhere:
            raise wrong_type("workers", workers, 'a mapping of callbacks or "elsewhere"')

    def announce(self) -> list[str]:
        """The names that tasks may use. `register` tells the core of each later one."""
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
                "yields values, which nobody takes: return one",
                argument=f"workers[{name!r}]",
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
        """From now on outcomes go to `bridge`; at most that many threads run plain functions."""
        self._bridge = bridge
        self._threads = Threads(threads_max, "outhaul-callback")
        # The end of a task is never seen once its event loop is gone.
        here = asyncio.get_running_loop()
        active = self._active_by_task_id.items()
        self._active_by_task_id = {id_: task for id_, task in active if task.get_loop() is here}
        for name in self._registered.keys() - set(self._announced):
            bridge.core.register(name)

    async def close(self) -> None:
        """Stops the callbacks that run, waits for their end, and gives up those that do not end."""
        try:
            await stop_all(list(self._running.values()))
        finally:
            self._running.clear()
            self._threads.close()
            self._bridge = None

    def run(self, key: int, attempt: int, callback_id: str, encoded: bytes, task_id: str) -> None:  # noqa: PLR0917 — a request of the core
        """See `bridge.CallbackRunner.run`."""
        bridge = self._bridge
        assert bridge is not None
        registered = self._registered.get(callback_id)
        if registered is None:  # its lane is a hash of its name, which another name may share
            message = f"no callback is registered as {callback_id!r}"
            bridge.core.failed(key, attempt, message, retry=True)
            return
        context = TaskContext(task_id=task_id, key=key, attempt=attempt)
        work = self._attempt(registered, encoded, context, bridge)
        task = _AttemptTask(work, loop=asyncio.get_running_loop())
        task.key, task.attempt, task.bridge = key, attempt, bridge
        self._running[key, attempt] = task
        task.add_done_callback(self._ended, context=self._context)

    def _ended(self, task: asyncio.Task[None]) -> None:
        assert isinstance(task, _AttemptTask)
        key, attempt = task.key, task.attempt
        self._running.pop((key, attempt), None)
        if task.cancelled():  # before its first step, so that it could not say so itself
            task.bridge.core.interrupted(key, attempt)

    def stop(self, key: int, attempt: int, reason: str) -> None:
        """See `bridge.CallbackRunner.stop`."""
        task = self._running.get((key, attempt))
        if task is not None:
            task.stop(reason)

    def stop_all(self) -> None:
        """See `bridge.CallbackRunner.stop_all`."""
        for task in list(self._running.values()):
            task.stop("crash")

    async def _attempt(
        self,
        registered: tuple[Callback, bool],
        value: bytes,
        context: TaskContext,
        bridge: Bridge,
    ) -> None:
        """INVARIANT: it never ends without exactly one report, unless it never begins."""
        key, attempt, task_id = context.key, context.attempt, context.task_id
        try:
            if task_id in self._active_by_task_id:
                await self._turn(context)
            this = asyncio.current_task()
            assert this is not None
            self._active_by_task_id[task_id] = this
            try:
                callback, is_coroutine_function = registered
                if is_coroutine_function:
                    result = encoded(await callback(_DECODER.decode(value), context))
                else:
                    result = await self._in_thread(callback, _DECODER.decode(value), context)
            finally:
                if self._active_by_task_id.get(task_id) is this:  # else its loop is gone
                    del self._active_by_task_id[task_id]
        except BaseException as error:
            try:
                self._report(error, context, bridge)
            except BaseException:
                # A type or a log of the user's has raised, perhaps before the report; to report
                # again changes nothing.
                message = "the callback raised something that cannot be looked at"
                bridge.core.failed(key, attempt, message, retry=True)
                raise
            if not issubclass(type(error), (Exception, asyncio.CancelledError)):
                raise
        else:
            if result == FALSE:
                bridge.core.failed(key, attempt, "the callback returned False", retry=True)
            else:
                bridge.succeeded(key, attempt, result)

    def _report(self, error: BaseException, context: TaskContext, bridge: Bridge) -> None:
        """Tells the core how an attempt ended that brought no result."""
        core, key, attempt = bridge.core, context.key, context.attempt
        match error:
            case asyncio.CancelledError() if self._cut_short.is_uncounted(key):
                core.interrupted(key, attempt)
            case asyncio.CancelledError():
                message = "CancelledError: the callback or what it waited for was cancelled"
                core.failed(key, attempt, message, retry=True)
            case KeyboardInterrupt():  # somebody ends the process
                core.interrupted(key, attempt)
            case GeneratorExit() if is_abandoned(self._running.get((key, attempt))):
                core.interrupted(key, attempt)
            case NoThreadError(is_exiting=True):
                core.interrupted(key, attempt)
                bridge.claim_no_more()
            case _ if (failure := permanent_failure(error)) is not None:
                core.failed(key, attempt, said(failure), retry=False)
            case _:  # also a SystemExit: one that comes each time must not be made again for ever
                core.failed(key, attempt, described(error), retry=True)
                # After the report, since a handler of the user's may raise. What is no Exception
                # is told to the loop.
                if isinstance(error, Exception):
                    _LOG.warning("%s: attempt %d raised", context.task_id, attempt, exc_info=error)

    async def _turn(self, context: TaskContext) -> None:
        """Waits until no earlier attempt runs: one that was stopped may take its time."""
        while (before := self._active_by_task_id.get(context.task_id)) is not None:
            _LOG.info("%s: attempt %d waits for one that runs on", context.task_id, context.attempt)
            await asyncio.wait({before})

    async def _in_thread(self, callback: Callback, value: object, context: TaskContext) -> bytes:
        job = self._threads.submit(_called, callback, value, context)
        running = asyncio.wrap_future(job)
        this = asyncio.current_task()
        assert isinstance(this, StoppableTask)
        this.waits_for_thread = True
        try:
            answer = await asyncio.shield(running)
        except asyncio.CancelledError:
            if job.cancel():
                raise
            # A thread can't be stopped: the attempt ends when the function does, with its outcome.
            await asyncio.wait({running})
            answer = running.result()
            if not isinstance(answer, bytes):  # the rest of the work, which can be stopped
                if inspect.iscoroutine(answer):
                    answer.close()
                raise
        finally:
            this.waits_for_thread = False
        return answer if isinstance(answer, bytes) else encoded(await answer)


def _called(callback: Callback, value: object, context: TaskContext) -> Any:  # noqa: ANN401 — bytes, or an awaitable of the user's
    """Calls a plain function and encodes what it returns: both in its thread."""
    answer = callback(value, context)
    return answer if inspect.isawaitable(answer) else encoded(answer)
