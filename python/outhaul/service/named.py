"""A task in JSON: the Structs of the wire, their members by name instead of by position."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

import msgspec

from outhaul import wire

if TYPE_CHECKING:
    from collections.abc import Mapping


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


_NAMED: Final[dict[type, type[msgspec.Struct]]] = {
    wire.SecretRef: SecretRef,
    wire.HttpUploadSpec: HttpUploadSpec,
    wire.OneTimeSpec: OneTimeSpec,
    wire.ConstraintsSpec: ConstraintsSpec,
    wire.RetrySpec: RetrySpec,
    wire.TaskSpec: NewTask,
}
_PLACED: Final = {named: placed for placed, named in _NAMED.items()}


def by_name(spec: wire.TaskSpec) -> NewTask:
    """A task as JSON has it. What runs a callback stays as it is, since its input is encoded."""
    return _turned(spec, _NAMED)  # type: ignore[no-any-return]


def by_position(task: NewTask) -> wire.TaskSpec:
    """A task as the wire has it. What runs a callback stays as it is, since its input is not."""
    return _turned(task, _PLACED)  # type: ignore[no-any-return]


def _turned(value: Any, kinds: Mapping[type, type[msgspec.Struct]]) -> Any:  # noqa: ANN401 — a member of a Struct
    kind = kinds.get(type(value))
    if kind is not None:
        members = kind.__struct_fields__
        return kind(**{name: _turned(getattr(value, name), kinds) for name in members})
    if isinstance(value, dict):
        return {name: _turned(each, kinds) for name, each in value.items()}
    if isinstance(value, (list, tuple)):
        return type(value)(_turned(each, kinds) for each in value)
    return value
