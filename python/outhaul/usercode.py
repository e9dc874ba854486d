"""Guards around calls into user code."""

from __future__ import annotations

import asyncio
import asyncio.taskgroups
import contextvars
import inspect
import sys
from collections import deque
from concurrent.futures import Future, ThreadPoolExecutor
from typing import TYPE_CHECKING, Any, Final

if TYPE_CHECKING:
    from collections.abc import Callable, Collection
    from types import FrameType

# How long, in seconds, user code that was stopped at the close may take to end.
GIVEN_UP_AFTER_S: Final = 1.0
MESSAGE_CHARS_MAX: Final = 500
# Remember at most this many attempts that somebody else has cut short.
CUT_SHORT_MAX: Final = 1024


class NoThreadError(RuntimeError):
    """No thread can be had for a user's function, which was not called.

    Attributes:
        is_exiting: Whether the interpreter is exiting, so that no thread will ever start again.
    """

    def __init__(self, message: str) -> None:
        super().__init__(message)
        # CPython has no other sign of it: `sys.is_finalizing` holds only later.
        self.is_exiting = "interpreter shutdown" in message


class Threads:
    """Threads of our own for users' functions: one that hangs holds up nobody else's."""

    def __init__(self, threads_max: int, name: str) -> None:
        self._executor = ThreadPoolExecutor(threads_max, name)

    def submit(self, function: Callable[..., Any], *args: object) -> Future[Any]:
        """Calls a function in a thread, with the context variables of the caller.

        Raises:
            NoThreadError: There is none, and the function will not be called.
        """
        job: Future[Any] = Future()
        try:
            self._executor.submit(_work, job, contextvars.copy_context(), function, args)
        except RuntimeError as error:
            # Where no thread can be started the job stays queued; another thread may have taken it.
            if job.cancel():
                raise NoThreadError(str(error)) from error
        return job

    def close(self) -> None:
        """Starts no job any more. Does not wait for those that run."""
        self._executor.shutdown(wait=False, cancel_futures=True)


def _work(
    job: Future[Any],
    context: contextvars.Context,
    function: Callable[..., Any],
    args: tuple[object, ...],
) -> None:
    if not job.set_running_or_notify_cancel():
        return
    try:
        result = context.run(function, *args)
    except (StopIteration, SystemExit, KeyboardInterrupt, GeneratorExit) as error:
        # No future can carry the first; the others end a thread at most, never the event loop.
        raised = RuntimeError(f"raised {described(error)}")
        raised.__cause__ = error
        job.set_exception(raised)
    except BaseException as error:  # noqa: BLE001 — whatever the user's code raises
        job.set_exception(error)
    else:
        job.set_result(result)
    finally:
        del job  # which the traceback of its exception would keep


class StoppableTask(asyncio.Task[None]):
    """An `asyncio.Task` that runs user code, and is stopped at most once.

    Attributes:
        stop_reason: Why it was stopped; `None` where it was not.
        waits_for_thread: Whether it waits for a function in a thread, which cannot be stopped: a
            second cancellation would end the wait.
    """

    stop_reason: str | None = None
    waits_for_thread = False
    _is_unwinding = False

    def stop(self, reason: str) -> None:
        """Cancels it, once."""
        if self.stop_reason is not None:
            return
        self.stop_reason = reason
        self._is_unwinding = self.cancelling() > 0
        if not (self._is_unwinding and self.waits_for_thread):
            self.cancel(reason)

    def uncancel(self) -> int:
        """As `asyncio.Task.uncancel`, by which a scope takes back its own cancellation.

        Before CPython 3.13 a `TaskGroup` that fails raises its errors only: a stop that came while
        it unwound is lost with it, and so comes again.
        """
        if self._is_unwinding and _LOSES_STOPS and _is_of_task_group(inspect.currentframe()):
            self._is_unwinding = False
            self.get_loop().call_soon(self.cancel, self.stop_reason)
        return super().uncancel()


_LOSES_STOPS: Final = sys.version_info < (3, 13)


def _is_of_task_group(frame: FrameType | None) -> bool:
    """Whether a `TaskGroup` has called the function of that frame."""
    caller = frame.f_back if frame else None
    return caller is not None and caller.f_globals.get("__name__") == asyncio.taskgroups.__name__


async def stop_all(tasks: Collection[StoppableTask]) -> None:
    """Stops those, waits for their end, and gives up the ones that do not end."""
    # Of a loop that is closed nothing can be stopped.
    tasks = [task for task in tasks if not task.get_loop().is_closed()]
    for task in tasks:
        task.stop("shutdown")
    if tasks:
        await asyncio.wait(tasks, timeout=GIVEN_UP_AFTER_S)


class CutShort:
    """Remembers attempts that neither we nor the attempt itself has ended, as a program's end does.

    Such an attempt is made again at once and not counted. But only once: user code that cancels
    itself from outside would else be called again for ever.
    """

    def __init__(self) -> None:
        self._keys: deque[int] = deque(maxlen=CUT_SHORT_MAX)

    def is_uncounted(self, key: int) -> bool:
        """Whether the current task, which is cancelled, may be made again at once."""
        task = asyncio.current_task()
        if isinstance(task, StoppableTask) and task.stop_reason is not None:
            return True
        if not is_being_cancelled() or key in self._keys:
            return False
        self._keys.append(key)
        return True


def is_abandoned(task: StoppableTask | None) -> bool:
    """Whether the coroutine that asks, and is the task's, is closed because its loop is gone.

    Else a `GeneratorExit` is its own code's.
    """
    try:
        return asyncio.current_task() is not task
    except RuntimeError:  # no loop runs here
        return True


def is_being_cancelled() -> bool:
    """Whether somebody cancels this `asyncio.Task`; else a `CancelledError` is its own code's."""
    task = asyncio.current_task()
    return task is not None and task.cancelling() > 0


def described(error: BaseException) -> str:
    """The type of an exception and what it says."""
    try:
        kind = str.__str__(type(error).__name__)
    except BaseException:  # noqa: BLE001 — as in `said`
        kind = "an exception without a name"
    # A time-out has nothing to say by itself, and the word for it.
    return f"{kind}: {said(error) or ('timeout' if issubclass(type(error), TimeoutError) else '')}"


def said(error: BaseException) -> str:
    """What an exception says: at most 500 characters that UTF-8 can carry."""
    try:
        text = str.__str__(str(error))[:MESSAGE_CHARS_MAX]
    except BaseException:  # noqa: BLE001 — the user's code, while an attempt waits for a report
        text = "its text cannot be had"
    return text.encode(errors="replace").decode()
