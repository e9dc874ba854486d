"""The wire form of a task: what the core's `model/spec.rs` reads, member for member.

A task travels as one MessagePack map and is stored as those bytes: a retry re-runs exactly what was
enqueued. Durations are milliseconds. Values only: what makes them checks them.
"""

from __future__ import annotations

from typing import Final

import msgspec


class SecretRef(msgspec.Struct, frozen=True, kw_only=True, gc=False):
    """Where a secret's value is found, never the value. Made by `Secret`.

    Attributes:
        source: `env`, `file` or `provider`.
        name: The variable, the file's path, or the provider's name.
        prefix: Put before the value, as in `"Bearer "`.
    """

    source: str
    name: str
    prefix: str = ""


def public_url(url: str) -> str:
    """The part of a URL that may be shown: no user, password, query or fragment."""
    scheme, separator, rest = url.partition("?")[0].partition("#")[0].partition("://")
    authority, slash, path = rest.partition("/")
    return f"{scheme}{separator}{authority.rpartition('@')[2]}{slash}{path}"


class HttpUploadSpec(
    msgspec.Struct, frozen=True, kw_only=True, gc=False, tag_field="type", tag="http_upload"
):
    """A file upload."""

    url: str
    file_path: str
    method: str
    body: str
    field_name: str
    file_name: str | None
    mime_type: str | None
    headers: list[tuple[str, str | SecretRef]]
    fields: list[tuple[str, str]]
    connect_timeout_ms: int
    stall_timeout_ms: int
    response_timeout_ms: int

    def __repr__(self) -> str:
        """Without what may be a credential: headers, fields, the URL's user and query."""
        return f"http_upload(url={public_url(self.url)!r}, file_path={self.file_path!r})"


class PythonSpec(
    msgspec.Struct, frozen=True, kw_only=True, gc=False, tag_field="type", tag="python"
):
    """A registered callback and its encoded argument."""

    callback_id: str
    input: bytes


class OneTimeSpec(
    msgspec.Struct, frozen=True, kw_only=True, gc=False, tag_field="type", tag="one_time"
):
    """Once, after a delay counted from the enqueue."""

    initial_delay_ms: int


class ConstraintsSpec(msgspec.Struct, frozen=True, kw_only=True, gc=False):
    """Under which conditions a task runs."""

    network_type: str | None
    battery_not_low: bool


class RetrySpec(msgspec.Struct, frozen=True, kw_only=True, gc=False):
    """What happens when an attempt fails."""

    max_retries: int
    initial_delay_ms: int
    multiplier: float
    max_delay_ms: int


class TaskSpec(msgspec.Struct, frozen=True, kw_only=True, gc=False):
    """One task as the user described it."""

    task_id: str | None
    worker: HttpUploadSpec | PythonSpec
    trigger: OneTimeSpec
    constraints: ConstraintsSpec
    existing_policy: str
    retry: RetrySpec
    tag: str | None
    priority: int


_ENCODER: Final = msgspec.msgpack.Encoder()


def encode(spec: TaskSpec) -> bytes:
    """The bytes that cross to the core and are stored."""
    return _ENCODER.encode(spec)
