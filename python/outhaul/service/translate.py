"""What a client says and hears: tasks as JSON, problems as errors."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Final

import msgspec

from outhaul import errors
from outhaul.arguments import wrong_type
from outhaul.errors import AccessDeniedError, InvalidArgumentError, OuthaulError, ServiceError
from outhaul.service.named import NewTask, PythonTask, by_name, upload_by_name
from outhaul.service.problems import Problem, argument_of
from outhaul.service.specs import BODY_BYTES_MAX, TASKS_MAX
from outhaul.tasks import Task
from outhaul.wire import PythonSpec

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

_ENCODER: Final = msgspec.json.Encoder()


def as_json(at: int, task: Task) -> NewTask:
    """A task as the service reads it.

    Args:
        at: Which of those that are sent together.
        task: As a manager would take it.

    Raises:
        InvalidArgumentError: JSON cannot carry the input of its callback.
        InvalidTypeError: It is no task.
    """
    if not isinstance(task, Task):
        raise wrong_type(f"tasks[{at}]", task, "a Task")
    spec = task.wire
    worker = spec.worker
    if not isinstance(worker, PythonSpec):
        return by_name(spec, upload_by_name(worker))
    value = msgspec.msgpack.decode(worker.input)
    if not _survives(value):
        raise InvalidArgumentError(
            "cannot go to a server, since JSON would change it: use None, booleans, finite "
            "numbers, strings, lists, and dicts whose keys are strings",
            argument=f"tasks[{at}].input",
        )
    return by_name(spec, PythonTask(callback_id=worker.callback_id, input=value))


def bodies(tasks: Iterable[Task]) -> Iterator[tuple[int, bytes]]:
    """What is sent for tasks, in pieces that the service takes, each with the place of its first.

    Raises:
        InvalidArgumentError: JSON cannot carry the input of a callback.
        InvalidTypeError: One is no task.
    """
    first = 0
    batch: list[bytes] = []
    body_bytes = 1  # the brackets, and a comma for all but one
    for at, task in enumerate(tasks):
        each = _ENCODER.encode(as_json(at, task))
        is_full = len(batch) == TASKS_MAX or body_bytes + len(each) + 1 > BODY_BYTES_MAX
        if batch and is_full:
            yield first, b"[%s]" % b",".join(batch)
            first, batch, body_bytes = at, [], 1
        batch.append(each)
        body_bytes += len(each) + 1
    if batch:
        yield first, b"[%s]" % b",".join(batch)


def _survives(value: object) -> bool:
    """Whether JSON carries it as it is: no bytes, no infinity, no keys that are numbers."""
    try:
        same: bool = msgspec.json.decode(_ENCODER.encode(value)) == value
    except (msgspec.MsgspecError, RecursionError, TypeError, ValueError):
        return False
    return same


_KINDS: Final[dict[str, type[OuthaulError]]] = {
    kind.code: kind
    for kind in vars(errors).values()
    if isinstance(kind, type) and issubclass(kind, OuthaulError)
}


def problem_in(answer: bytes) -> Problem | None:
    """The problem details of a refusal; `None` where they are not such as ours."""
    try:
        return msgspec.json.decode(answer, type=Problem)
    except msgspec.DecodeError:
        return None


def refusal(status: int, problem: Problem | None) -> OuthaulError:
    """The error that the server raised, raised here."""
    if problem is None:
        return ServiceError(f"the server answers HTTP {status}, and not as an outhaul service")
    kind = _KINDS.get(problem.code)
    if kind is None or kind is AccessDeniedError:
        return (kind or ServiceError)(problem.detail)
    return kind(problem.detail, argument=argument_of(problem.field or ""))


def counted_from(first: int, argument: str) -> str:
    """What an argument of some tasks is called among all of which they are a part."""
    return re.sub(r"^tasks\[(\d+)\]", lambda found: f"tasks[{first + int(found[1])}]", argument)
