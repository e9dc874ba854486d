"""A task in JSON: the Structs of the wire, their members by name instead of by position."""

from __future__ import annotations

from functools import lru_cache
from typing import Any, Final, TypeVar

import msgspec
from msgspec.structs import asdict

from outhaul import wire

_Kind = TypeVar("_Kind", bound=msgspec.Struct)


class SecretRef(wire.SecretRef, frozen=True, array_like=False, forbid_unknown_fields=True):
    """Where a secret's value is found, never the value: one that the operator has allowed."""


Headers = dict[str, str | SecretRef] | list[tuple[str, str | SecretRef]]


class HttpUploadSpec(
    wire.HttpUploadSpec, frozen=True, kw_only=True, array_like=False, forbid_unknown_fields=True
):
    """A file upload.

    Attributes:
        file_path: Absolute.
        headers: Pairs of a name and a value, or a map.
        fields: Likewise; form fields sent before the file.
    """

    headers: Headers = []  # type: ignore[assignment]  # noqa: RUF012 — msgspec copies it


class PythonTask(
    msgspec.Struct,
    frozen=True,
    kw_only=True,
    gc=False,
    forbid_unknown_fields=True,
    tag_field="type",
    tag="python",
):
    """A registered callback and its argument.

    Attributes:
        callback_id: The name it is registered under.
        input: Any JSON value.
    """

    callback_id: str
    input: Any = None


class OneTimeSpec(wire.OneTimeSpec, frozen=True, array_like=False, forbid_unknown_fields=True):
    """Once, after a delay counted from the enqueue."""


class ConstraintsSpec(
    wire.ConstraintsSpec, frozen=True, array_like=False, forbid_unknown_fields=True
):
    """Under which conditions a task runs.

    Attributes:
        network_type: `None` is the worker's default: a network for HTTP, none for a callback.
    """


class RetrySpec(wire.RetrySpec, frozen=True, array_like=False, forbid_unknown_fields=True):
    """What happens when an attempt fails."""


class NewTask(
    wire.TaskSpec, frozen=True, kw_only=True, array_like=False, forbid_unknown_fields=True
):
    """A task to be done."""

    worker: HttpUploadSpec | PythonTask  # type: ignore[assignment]  # its input as JSON, not encoded
    trigger: OneTimeSpec = OneTimeSpec()
    constraints: ConstraintsSpec = ConstraintsSpec()
    retry: RetrySpec = RetrySpec()


# Of the members that are Structs themselves: many tasks have few of these.
_TURNED_MAX: Final = 1024


def by_name(spec: wire.TaskSpec, worker: HttpUploadSpec | PythonTask) -> NewTask:
    """A task of the wire as JSON has it, with this worker in the place of its own."""
    return NewTask(
        task_id=spec.task_id,
        worker=worker,
        trigger=_turned(spec.trigger, OneTimeSpec),
        constraints=_turned(spec.constraints, ConstraintsSpec),
        existing_policy=spec.existing_policy,
        retry=_turned(spec.retry, RetrySpec),
        tag=spec.tag,
        priority=spec.priority,
    )


def by_position(task: NewTask, worker: wire.HttpUploadSpec | wire.PythonSpec) -> wire.TaskSpec:
    """A task in JSON as the wire has it, with this worker in the place of its own."""
    return wire.TaskSpec(
        task_id=task.task_id,
        worker=worker,
        trigger=_turned(task.trigger, wire.OneTimeSpec),
        constraints=_turned(task.constraints, wire.ConstraintsSpec),
        existing_policy=task.existing_policy,
        retry=_turned(task.retry, wire.RetrySpec),
        tag=task.tag,
        priority=task.priority,
    )


def upload_by_name(upload: wire.HttpUploadSpec) -> HttpUploadSpec:
    """An upload of the wire as JSON has it."""
    return msgspec.convert(upload, HttpUploadSpec, from_attributes=True)


def upload_by_position(upload: HttpUploadSpec) -> wire.HttpUploadSpec:
    """An upload in JSON as the wire has it."""
    return msgspec.convert(upload, wire.HttpUploadSpec, from_attributes=True)


@lru_cache(maxsize=_TURNED_MAX)
def _turned(member: msgspec.Struct, kind: type[_Kind]) -> _Kind:
    return kind(**asdict(member))
