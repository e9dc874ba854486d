"""One task as the user describes it: all that `enqueue` takes, as a value."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

import msgspec

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
_KEEP: Final = ExistingTaskPolicy.KEEP  # a member of an enum is not quickly looked up
# Compared by identity: CPython has one 0, and any other is checked as every number is.
_DEFAULT_PRIORITY: Final = 0

# How a task begins: an array of this many members, the first of them its id.
_TASK: Final = bytes([0x90 | len(TaskSpec.__struct_fields__)])
_TASK_WITHOUT_ID: Final = _TASK + encode(None)


class Task(Value[TaskSpec]):
    """What to do, when, under which conditions: for `enqueue_task` and `enqueue_all`.

    Attributes:
        encoded: The bytes that cross to the core and are stored.
    """

    __slots__ = ("encoded",)

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
        priority: int = _DEFAULT_PRIORITY,
        **unknown: Never,
    ) -> None:
        """Checks types and ranges. What they mean is checked when the task is enqueued.

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
            InvalidArgumentError: A value out of its range, or text that UTF-8 cannot carry.
            InvalidTypeError: A wrong type, or an argument that does not exist.
        """
        if unknown:
            raise unknown_keyword(type(self).__init__, unknown)
        self.encoded = encoded(
            task_id, worker, trigger, constraints, existing_policy, retry, tag, priority
        )

    @classmethod
    def from_wire(cls, spec: TaskSpec) -> Task:
        """A task that was described elsewhere, its types and ranges checked as it was decoded."""
        task = cls.__new__(cls)
        task.encoded = encode(spec)
        return task

    @property
    def wire(self) -> TaskSpec:  # type: ignore[override]  # decoded from `encoded`, not kept
        """What it says, read back."""
        return msgspec.msgpack.decode(self.encoded, type=TaskSpec)


def _terms(
    trigger: TaskTrigger,
    constraints: Constraints,
    existing_policy: ExistingTaskPolicy | str,
    retry: RetryPolicy,
) -> bytes:
    """When and how a task is done, checked, as the part of its bytes behind its worker."""
    if not isinstance(trigger, TaskTrigger):
        raise wrong_type("trigger", trigger, "a TaskTrigger")
    if not isinstance(constraints, Constraints):
        raise wrong_type("constraints", constraints, "Constraints")
    if not isinstance(retry, RetryPolicy):
        raise wrong_type("retry", retry, "a RetryPolicy")
    if existing_policy is not _KEEP:
        existing_policy = choice("existing_policy", existing_policy, ExistingTaskPolicy)
    members = (trigger.wire, constraints.wire, existing_policy, retry.wire)
    return encode(members)[1:]  # without the byte that says how many these are


def _label(tag: str | None, priority: int) -> bytes:
    """A task's tag and priority, checked, as the end of its bytes."""
    if tag is not None:
        tag = text("tag", tag)
    if priority is not _DEFAULT_PRIORITY:
        integer("priority", priority, least=-PRIORITY_MAX - 1, most=PRIORITY_MAX)
    return encode(tag) + encode(priority)


_NO_LABEL: Final = _label(None, _DEFAULT_PRIORITY)

_Terms = tuple[TaskTrigger, Constraints, "ExistingTaskPolicy | str", RetryPolicy, bytes]

# The terms of the last task: the objects they were made of, and their bytes.
_last: list[_Terms] = [
    (
        AT_ONCE,
        WORKER_DEFAULT,
        _KEEP,
        RETRY_DEFAULT,
        _terms(AT_ONCE, WORKER_DEFAULT, _KEEP, RETRY_DEFAULT),
    )
]


def encoded(  # noqa: PLR0917 — positional, since this is called for every enqueue
    task_id: str | None,
    worker: NativeWorker | PythonWorker,
    trigger: TaskTrigger,
    constraints: Constraints,
    existing_policy: ExistingTaskPolicy | str,
    retry: RetryPolicy,
    tag: str | None,
    priority: int,
) -> bytes:
    """A `TaskSpec` that says this, checked, as the bytes that cross to the core and are stored.

    Many tasks have the terms of the one before: those are checked and encoded again only where
    they are other objects.
    """
    # Read and replaced as a whole, since any thread may call.
    last_trigger, last_constraints, last_policy, last_retry, terms = _last[0]
    if not (
        trigger is last_trigger
        and constraints is last_constraints
        and existing_policy is last_policy
        and retry is last_retry
    ):
        terms = _terms(trigger, constraints, existing_policy, retry)
        _last[0] = (trigger, constraints, existing_policy, retry, terms)
    label = _NO_LABEL if tag is None and priority is _DEFAULT_PRIORITY else _label(tag, priority)
    if type(worker) is not PythonWorker and not isinstance(worker, (NativeWorker, PythonWorker)):
        raise wrong_type("worker", worker, "a NativeWorker or a PythonWorker")
    if task_id is None:
        return _TASK_WITHOUT_ID + worker.encoded + terms + label
    return _TASK + encode(text("task_id", task_id)) + worker.encoded + terms + label


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
