"""What a client says and hears: tasks as JSON, problems as errors."""

from __future__ import annotations

from typing import Final

import msgspec

from outhaul import errors
from outhaul.arguments import wrong_type
from outhaul.errors import AccessDeniedError, InvalidArgumentError, OuthaulError, ServiceError
from outhaul.service.named import NewTask, PythonTask, by_name, upload_by_name
from outhaul.service.problems import Problem, argument_of
from outhaul.tasks import Task
from outhaul.wire import PythonSpec

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


def refusal(status: int, answer: bytes) -> OuthaulError:
    """The error that the server raised, raised here."""
    try:
        problem = msgspec.json.decode(answer, type=Problem)
    except msgspec.DecodeError:
        return ServiceError(f"the server answers HTTP {status}, and not as an outhaul service")
    kind = _KINDS.get(problem.code)
    if kind is None or kind is AccessDeniedError:
        return (kind or ServiceError)(problem.detail)
    return kind(problem.detail, argument=argument_of(problem.field or ""))
