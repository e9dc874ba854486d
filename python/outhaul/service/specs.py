"""What a request says: its body and its query, decoded into Structs that check types and ranges."""

from __future__ import annotations

from functools import cache
from typing import TYPE_CHECKING, Annotated, Final, TypeVar
from urllib.parse import quote

import msgspec

from outhaul.errors import InvalidArgumentError, SecurityViolationError
from outhaul.model import KEY_MAX, PAGE, SEQ_MAX, ScheduleResult, TaskRecord, TaskStatus
from outhaul.service.named import (
    Headers,
    NewTask,
    PythonTask,
    SecretRef,
    by_position,
    upload_by_position,
)
from outhaul.service.problems import Refused, undecodable
from outhaul.tasks import Task
from outhaul.wire import PythonSpec, encode

if TYPE_CHECKING:
    from collections.abc import Container

    from multidict import MultiMapping

# Decoding takes the event loop for about 4 ms a megabyte.
BODY_BYTES_MAX: Final = 2 * 1024 * 1024
TASKS_MAX: Final = 10_000


class Scheduled(msgspec.Struct, frozen=True, kw_only=True, gc=False):
    """What became of a task that was sent.

    Attributes:
        task_id: The caller's id, or the generated one.
        key: The internal id: ascending, never reused.
        schedule_result: `accepted`, or `kept` where a live task has that id.
    """

    task_id: str
    key: int
    schedule_result: ScheduleResult


class Page(msgspec.Struct, frozen=True, kw_only=True):
    """Some tasks, oldest first.

    Attributes:
        tasks: At most as many as the limit says.
        next: The `cursor` of the next page; `null` where this is the last one.
    """

    tasks: list[TaskRecord]
    next: str | None


class Cancelled(msgspec.Struct, frozen=True, kw_only=True):
    """How many tasks were ended."""

    cancelled: int


class Health(msgspec.Struct, frozen=True, kw_only=True):
    """Whether the service works."""

    status: str


class TasksQuery(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Which tasks are wanted.

    Attributes:
        status: Only those that stand in one of these; may be repeated.
        cursor: What the page before gave as `next`.
    """

    status: list[TaskStatus] = []
    tag: str | None = None
    prefix: str | None = None
    cursor: Annotated[int, msgspec.Meta(ge=0, le=KEY_MAX)] = 0
    limit: Annotated[int, msgspec.Meta(ge=1, le=PAGE)] = 100


class CancelQuery(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Which tasks are to be ended: those with a tag, or (`all=true`) all."""

    tag: str | None = None
    all: bool = False


class EventsQuery(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Which events are wanted.

    Attributes:
        after: The number of the last event already seen; 0 is from the beginning, nothing is from
            now on. The header `Last-Event-ID` wins over it.
        skip_pruned: Whether events that retention has removed are passed over in silence; from the
            beginning they always are.
        follow: Whether the stream goes on at the end of the log.
    """

    after: Annotated[int, msgspec.Meta(ge=0, le=SEQ_MAX)] | None = None
    tag: str | None = None
    task_id: str | None = None
    prefix: str | None = None
    skip_pruned: bool = False
    follow: bool = True


class ProgressQuery(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Whose progress is wanted."""

    task_id: str | None = None
    tag: str | None = None


class NoQuery(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """No parameter."""


def path_of(task_id: str) -> str:
    """An id as the last part of an address. One of dots alone would mean another address."""
    return quote(task_id, safe="") if task_id.strip(".") else "%2E" * len(task_id)


_Query = TypeVar("_Query", bound=msgspec.Struct)
_TASKS: Final = msgspec.json.Decoder(NewTask | list[NewTask])


def query(of: MultiMapping[str], into: type[_Query]) -> _Query:
    """The parameters of a request.

    Raises:
        Refused: One does not exist, or has a value that means nothing.
    """
    lists = _lists(into)
    given: dict[str, object] = {}
    for name in set(of):
        values = of.getall(name)
        if name not in lists and len(values) > 1:
            raise Refused(422, "INVALID_ARGUMENT", "it may be given once", field=name)
        given[name] = values if name in lists else values[0]
    try:
        return msgspec.convert(given, into, strict=False)
    except msgspec.ValidationError as error:
        raise undecodable(error) from None


@cache
def _lists(of: type[msgspec.Struct]) -> frozenset[str]:
    """The members that may be given several times."""
    fields = msgspec.structs.fields(of)
    return frozenset(field.name for field in fields if field.default_factory is list)


def tasks(body: bytes) -> tuple[list[NewTask], bool]:
    """The tasks that a body describes, and whether it is a list.

    Args:
        body: JSON.

    Raises:
        Refused: It is not JSON, or does not describe tasks.
    """
    try:
        found = _TASKS.decode(body)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise undecodable(error) from None
    if isinstance(found, NewTask):
        return [found], False
    if len(found) > TASKS_MAX:
        said = f"{len(found)} tasks: send at most {TASKS_MAX} at once"
        raise Refused(413, "TOO_MANY_TASKS", said)
    return found, True


def task(new: NewTask, place: str, *, secrets: Container[tuple[str, str]]) -> Task:
    """A task as a manager takes it.

    Args:
        new: As it was sent.
        place: Where it stood: nothing, or `tasks[3].`.
        secrets: The references that may be named.

    Raises:
        SecurityViolationError: It names a secret that nobody allowed.
        InvalidArgumentError: The input of its callback cannot be stored.
    """
    if isinstance(new.worker, PythonTask):
        try:
            value = encode(new.worker.input)
        except (OverflowError, RecursionError) as error:
            raise InvalidArgumentError(
                f"cannot be stored: {error}", argument=f"{place}input"
            ) from error
        encoded = PythonSpec(callback_id=new.worker.callback_id, input=value)
        return Task.from_wire(by_position(new, encoded))
    _check_secrets(new.worker.headers, place, secrets)
    return Task.from_wire(by_position(new, upload_by_position(new.worker)))


def _check_secrets(headers: Headers, place: str, allowed: Container[tuple[str, str]]) -> None:
    for name, value in headers.items() if isinstance(headers, dict) else headers:
        if isinstance(value, SecretRef) and (value.source, value.name) not in allowed:
            raise SecurityViolationError(
                f"the secret {value.source}:{value.name} may not be used here: "
                "the operator has to allow it",
                argument=f'{place}headers["{name}"]',
            )
