"""One task as the user describes it: all that `enqueue` takes, as a value."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from outhaul.arguments import (
    Value,
    absolute_path,
    choice,
    integer,
    text,
    unknown_keyword,
    wrong_type,
)
from outhaul.constraints import Constraints
from outhaul.model import ExistingTaskPolicy
from outhaul.policies import RetryPolicy
from outhaul.triggers import TaskTrigger
from outhaul.wire import PRIORITY_MAX, TaskSpec, encode
from outhaul.workers import NativeWorker, PythonWorker

if TYPE_CHECKING:
    import os
    from typing import Never

AT_ONCE: Final = TaskTrigger.one_time()
WORKER_DEFAULT: Final = Constraints()
RETRY_DEFAULT: Final = RetryPolicy()
_PRIORITY: Final = 0


class Task(Value[TaskSpec]):
    """What to do, when, under which conditions: for `WorkManager.enqueue_all`."""

    __slots__ = ()

    def __init__(
        self,
        task_id: str | None,
        worker: NativeWorker | PythonWorker,
        *,
        trigger: TaskTrigger = AT_ONCE,
        constraints: Constraints = WORKER_DEFAULT,
        existing_policy: ExistingTaskPolicy | str = ExistingTaskPolicy.KEEP,
        retry: RetryPolicy = RETRY_DEFAULT,
        tag: str | None = None,
        priority: int = _PRIORITY,
        **unknown: Never,
    ) -> None:
        """Checks types and ranges. What they mean is checked when the task is enqueued.

        Args:
            task_id: The caller's id, unique among live tasks; `None` lets outhaul make one.
            worker: What does the work.
            trigger: When; at once by default.
            constraints: Under which conditions; the worker's own by default.
            existing_policy: What happens when a live task has that id.
            retry: What happens when an attempt fails.
            tag: A label shared by related tasks.
            priority: Larger goes first among tasks that are ready; signed 32-bit.
            unknown: Refused.

        Raises:
            InvalidArgumentError: A value out of its range, or text that UTF-8 cannot carry.
            InvalidTypeError: A wrong type, or an argument that does not exist.
        """
        if unknown:
            raise unknown_keyword(type(self).__init__, unknown)
        self.wire = described(
            task_id, worker, trigger, constraints, existing_policy, retry, tag, priority
        )

    @classmethod
    def from_wire(cls, spec: TaskSpec) -> Task:
        """A task that was described elsewhere, its types and ranges checked as it was decoded."""
        task = cls.__new__(cls)
        task.wire = spec
        return task

    def encoded(self) -> bytes:
        """The bytes that cross to the core and are stored."""
        return encode(self.wire)


def described(  # noqa: PLR0917 — positional, since this is called for every enqueue
    task_id: str | None,
    worker: NativeWorker | PythonWorker,
    trigger: TaskTrigger,
    constraints: Constraints,
    existing_policy: ExistingTaskPolicy | str,
    retry: RetryPolicy,
    tag: str | None,
    priority: int,
) -> TaskSpec:
    """What the arguments of a `Task` say, checked."""
    if not isinstance(worker, (NativeWorker, PythonWorker)):
        raise wrong_type("worker", worker, "a NativeWorker or a PythonWorker")
    if not isinstance(trigger, TaskTrigger):
        raise wrong_type("trigger", trigger, "a TaskTrigger")
    if not isinstance(constraints, Constraints):
        raise wrong_type("constraints", constraints, "Constraints")
    if not isinstance(retry, RetryPolicy):
        raise wrong_type("retry", retry, "a RetryPolicy")
    # A call costs as much as all of these together, so nothing is checked that is as it was.
    if task_id is not None:
        text("task_id", task_id)
    if tag is not None:
        text("tag", tag)
    if existing_policy is not ExistingTaskPolicy.KEEP:
        existing_policy = choice("existing_policy", existing_policy, ExistingTaskPolicy)
    if priority is not _PRIORITY:
        integer("priority", priority, least=-PRIORITY_MAX - 1, most=PRIORITY_MAX)
    return TaskSpec(
        task_id=task_id,
        worker=worker.wire,
        trigger=trigger.wire,
        constraints=constraints.wire,
        existing_policy=existing_policy,
        retry=retry.wire,
        tag=tag,
        priority=priority,
    )


def task_id_for(path: str | os.PathLike[str], url: str) -> str:
    """The same id for the same file and address, on every run: a digest of both.

    Args:
        path: The file, made absolute but not resolved.
        url: Where it goes.
    """
    # Imported here: it loads a cryptography library, and few programs ask.
    import hashlib  # noqa: PLC0415

    named = f"{absolute_path('path', path)}\0{text('url', url)}"
    return f"upload-{hashlib.blake2b(named.encode(), digest_size=16).hexdigest()}"
