"""The manager: the public verbs."""

from __future__ import annotations

import asyncio
import itertools
from typing import TYPE_CHECKING, Any, Final, Literal, TypeVar

import msgspec

from outhaul.arguments import several, text, unknown_keyword, wrong_type
from outhaul.callbacks import Callbacks
from outhaul.errors import ManagerClosedError
from outhaul.handle import ACCEPTED, KEPT, TaskHandle, handles
from outhaul.model import ExistingTaskPolicy
from outhaul.openable import NOT_OPEN
from outhaul.options import ANY_ADDRESS, RETENTION_DEFAULT, Options
from outhaul.reads import Reads
from outhaul.secret_lookup import SecretLookups
from outhaul.signals import HostSignals
from outhaul.tasks import AT_ONCE, RETRY_DEFAULT, WORKER_DEFAULT, Task, encoded

if TYPE_CHECKING:
    import os
    from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
    from datetime import timedelta

    from outhaul.callbacks import Callback
    from outhaul.constraints import Constraints
    from outhaul.options import Clock
    from outhaul.policies import AddressPolicy, Retention, RetryPolicy
    from outhaul.secrets import Provider
    from outhaul.signals import SystemSignals
    from outhaul.triggers import TaskTrigger
    from outhaul.workers import NativeWorker, PythonWorker

    _Function = TypeVar("_Function", bound=Callback)

# `enqueue_all` yields to the event loop after this many tasks.
SLICE: Final = 32

_NUMBER: Final = msgspec.msgpack.Decoder(int)


class WorkManager(Reads):
    """Durable background work in one file. Open it with `async with`, on one event loop.

    Several processes may open the same file: any may enqueue, cancel and read, one of them runs.
    """

    def __init__(
        self,
        path: str | os.PathLike[str],
        *,
        max_concurrent: int = 8,
        max_per_host: int = 4,
        max_pending: int = 10_000_000,
        retention: Retention = RETENTION_DEFAULT,
        durability: Literal["fsync", "os"] = "fsync",
        allowed_roots: Iterable[str | os.PathLike[str]] | None = None,
        address_policy: AddressPolicy = ANY_ADDRESS,
        allow_http: bool = False,
        ca_file: str | os.PathLike[str] | None = None,
        secrets: Mapping[str, Provider] | None = None,
        workers: Mapping[str, Callback] | Literal["elsewhere"] | None = None,
        run: bool = True,
        close_timeout: timedelta | float = 10.0,
        signals: SystemSignals | None = None,
        clock: Clock | None = None,
    ) -> None:
        """Opens nothing yet.

        Args:
            path: The store: a file on a local disk, made with mode 0600 where it is missing.
            max_concurrent: Attempts under way at once, 1 to 4096.
            max_per_host: Of these, transfers to one origin (scheme, host and port), 1 to 4096.
            max_pending: Tasks that wait at once, 1 to 2**31; one more is a `QueueFullError`.
            retention: How long tasks are kept that have ended.
            durability: What a commit survives: `fsync` power loss, `os` only `kill -9`.
            allowed_roots: Where files may lie; anywhere by default.
            address_policy: Which addresses transfers may connect to: private ones, too, by default.
            allow_http: Whether `http://` may leave the host. To loopback it always may.
            ca_file: Certificates to trust instead of the system's, as PEM.
            secrets: What `Secret.provider(name)` asks: functions or coroutine functions.
            workers: The callbacks of Python workers by name; `"elsewhere"` if another process runs
                them, so that any name may be enqueued.
            run: Whether this process runs tasks, as soon as no other does.
            close_timeout: How long closing waits for callbacks that are plain functions, and others
                as they are cancelled: a timedelta or seconds, 0 to 10 years.
            signals: Facts about the host; the host's own by default.
            clock: A test's `FakeClock`; the host's by default.

        Raises:
            InvalidArgumentError: A value out of its range.
            InvalidTypeError: A wrong type.
        """
        self._options = Options(
            path=path,
            max_concurrent=max_concurrent,
            max_per_host=max_per_host,
            max_pending=max_pending,
            retention=retention,
            durability=durability,
            allowed_roots=allowed_roots,
            address_policy=address_policy,
            allow_http=allow_http,
            ca_file=ca_file,
            run=run,
            close_timeout=close_timeout,
            clock=clock,
        )
        self._callbacks = Callbacks(workers)
        self._lookups = SecretLookups(secrets)
        for argument, given, methods in (
            ("signals", signals, ("start", "close")),
            ("clock", clock, ("native", "start", "close")),
        ):
            if given is not None and not all(hasattr(given, method) for method in methods):
                raise wrong_type(argument, given, f"an object with {' and '.join(methods)}")
        self._signals = HostSignals() if signals is None else signals

    @property
    def allowed_roots(self) -> Sequence[str]:
        """The directories that files must lie beneath; none is anywhere."""
        return tuple(self._options.roots)

    @property
    def address_policy(self) -> AddressPolicy:
        """Which addresses transfers may connect to."""
        return self._options.address_policy

    def worker(self, name: str) -> Callable[[_Function], _Function]:
        """Registers a callback for Python workers: `@manager.worker("name")`.

        The callback takes the input and a `TaskContext`. A coroutine function runs on the loop, a
        plain one in a thread. `False` or an exception means another attempt by the task's policy;
        `PermanentFailure` ends the task; anything else is its result.
        """
        name = text("name", name)  # now: `@manager.worker` would take the function for it

        def register(callback: _Function) -> _Function:
            self._callbacks.register(name, callback)
            return callback

        return register

    async def enqueue(
        self,
        task_id: str | None,
        worker: NativeWorker | PythonWorker,
        *,
        trigger: TaskTrigger = AT_ONCE,
        constraints: Constraints = WORKER_DEFAULT,
        existing_policy: ExistingTaskPolicy | str = ExistingTaskPolicy.KEEP,
        retry: RetryPolicy = RETRY_DEFAULT,
        tag: str | None = None,
        priority: int = 0,
        **unknown: Any,  # noqa: ANN401 — refused by Task
    ) -> TaskHandle:
        """Stores a task. When this returns, the task is on disk and will be done.

        A call that is cancelled may have stored it all the same: give the task an id, and enqueue
        it again.

        Args:
            task_id: The caller's id, unique among live tasks: 1 to 512 bytes of UTF-8, no control
                characters, not of the form that outhaul makes (`oh_` and 13 characters). `None`
                lets outhaul make one.
            worker: What does the work.
            trigger: When; at once by default.
            constraints: Under which conditions; the worker's own by default.
            existing_policy: What happens when a live task has that id.
            retry: What happens when an attempt fails.
            tag: A label shared by related tasks: 1 to 512 bytes of UTF-8, no control characters.
            priority: Larger goes first among ready tasks to the same host, or of the same callback;
                a level is worth a minute of waiting. Signed 32-bit. Between hosts and callbacks
                there is taking turns.
            unknown: Refused.

        Raises:
            OuthaulError: One typed error that names the argument and the fix. Nothing was stored.
        """
        queries = self._queries
        if queries is None:
            raise ManagerClosedError(NOT_OPEN)
        if unknown:
            raise unknown_keyword(Task.__init__, unknown)
        spec = encoded(task_id, worker, trigger, constraints, existing_policy, retry, tag, priority)
        key, accepted, known_as = await queries.bridge.enqueue(spec)
        return TaskHandle(known_as, key, ACCEPTED if accepted else KEPT, queries)

    async def enqueue_task(self, task: Task) -> TaskHandle:
        """As `enqueue`, for a task that was described before.

        Raises:
            OuthaulError: As `enqueue`.
        """
        queries = self._opened()
        if not isinstance(task, Task):
            raise wrong_type("task", task, "a Task")
        key, accepted, known_as = await queries.bridge.enqueue(task.encoded)
        return TaskHandle(known_as, key, ACCEPTED if accepted else KEPT, queries)

    async def enqueue_all(self, tasks: Iterable[Task]) -> list[TaskHandle]:
        """Stores many tasks in one transaction: all of them or none. The handles keep the order.

        Raises:
            OuthaulError: As `enqueue`; the argument begins with `tasks[n]`.
        """
        queries = self._opened()
        queries.bridge.check()
        parts = _encoded(tasks)
        first = next(parts, None)
        if first is None:
            return []
        answer = await queries.bridge.enqueue_all(itertools.chain([first], parts))
        made: list[TaskHandle] = []
        for page in handles(answer, queries):
            made += page
            await asyncio.sleep(0)
        return made

    async def cancel(self, task_id: str) -> bool:
        """Ends the live task with that id for good. Returns whether there was one."""
        bridge = self._here()
        answer = await bridge.call(bridge.core.cancel, task_id=text("task_id", task_id))
        # One that was on its way and the one that it was to replace are two.
        return _NUMBER.decode(answer) > 0

    async def cancel_by_tag(self, tag: str) -> int:
        """Ends every live task with that tag. Returns how many."""
        bridge = self._here()
        return _NUMBER.decode(await bridge.call(bridge.core.cancel, tag=text("tag", tag)))

    async def cancel_all(self) -> int:
        """Ends every live task. Returns how many."""
        bridge = self._here()
        return _NUMBER.decode(await bridge.call(bridge.core.cancel))

    async def get_handle(self, task_id: str) -> TaskHandle | None:
        """A hold on the newest task with that id, as its enqueue gave it: also after a restart.

        Returns:
            Its `schedule_result` is always `KEPT`. `None` where there is no such task, and where
            retention has removed the newest one, even if an older one is still kept.
        """
        record = await self.get_task(task_id)
        if record is None:
            return None
        return TaskHandle(record.task_id, record.key, KEPT, self._opened())

    async def drain(self) -> None:
        """Waits until the attempts under way have ended, and starts no further one.

        Not until the manager is closed and opened again. Enqueueing still works; another process
        takes over what waits once this one is closed. A callback of the manager's own, which is
        under way, must not wait for it.
        """
        bridge = self._here()
        await bridge.wait(bridge.core.drain)

    async def wait_idle(self) -> None:
        """Waits until nothing runs and nothing that is due can run.

        A task that is due later does not count, nor one that waits for a constraint or for a
        callback that is not registered, or for the time that a server has asked for its host. In a
        process that does not run tasks, every due one counts. A callback of the manager's own must
        not wait for it.
        """
        bridge = self._here()
        await bridge.wait(bridge.core.wait_idle)


def _encoded(tasks: Iterable[Task]) -> Iterator[list[bytes]]:
    """Tasks as they cross to the core, a few at a time."""
    part: list[bytes] = []
    for at, task in enumerate(several("tasks", tasks, "tasks")):
        if not isinstance(task, Task):
            raise wrong_type(f"tasks[{at}]", task, "a Task")
        part.append(task.encoded)
        if len(part) == SLICE:
            yield part
            part = []
    if part:
        yield part
