"""The wire form of a task: what the core's `model/spec.rs` reads, member for member.

A task travels as one MessagePack array and is stored as those bytes: a retry re-runs exactly what
was enqueued. Members are told apart by their position: a new one may only be added at the end of
its Struct. `service.named` has the same for JSON, members by name: types and defaults, from here,
say what a stranger may send. Durations are milliseconds. Values only: their makers check them.
"""

from __future__ import annotations

from typing import Annotated, Final, Literal

import msgspec

from outhaul.arguments import DURATION_MS_MAX
from outhaul.model import ExistingTaskPolicy, NetworkType

RETRIES_MAX: Final = 10_000
MULTIPLIER_MAX: Final = 100.0
PRIORITY_MAX: Final = 2**31 - 1

Delay = Annotated[int, msgspec.Meta(ge=0, le=DURATION_MS_MAX, description="In milliseconds.")]
Timeout = Annotated[int, msgspec.Meta(ge=1, le=DURATION_MS_MAX, description="In milliseconds.")]


CONNECT_TIMEOUT_MS: Final = 10_000
STALL_TIMEOUT_MS: Final = 60_000
RESPONSE_TIMEOUT_MS: Final = 300_000

Method = Literal["POST", "PUT"]
Body = Literal["multipart", "raw"]
SecretSource = Literal["env", "file", "provider"]


class SecretRef(
    msgspec.Struct,
    frozen=True,
    kw_only=True,
    gc=False,
    array_like=True,
):
    """Where a secret's value is found, never the value. Made by `Secret`.

    Attributes:
        source: `env`, `file` or `provider`.
        name: The variable, the file's path, or the provider's name.
        prefix: Put before the value, as in `"Bearer "`.
    """

    source: SecretSource
    name: str
    prefix: str = ""


Headers = dict[str, str | SecretRef] | list[tuple[str, str | SecretRef]]
Fields = dict[str, str] | list[tuple[str, str]]


def public_url(url: str) -> str:
    """The part of a URL that may be shown: no user, password, query or fragment."""
    if "://" not in url:
        return "(no address)"
    scheme, separator, rest = url.partition("?")[0].partition("#")[0].partition("://")
    authority, slash, path = rest.partition("/")
    if "@" in url[len(scheme) + len(separator) + len(authority) :]:
        return "(no address)"  # it may begin with a password that has one of `/?#` in it
    return f"{scheme}{separator}{authority.rpartition('@')[2]}{slash}{path}"


class HttpUploadSpec(
    msgspec.Struct,
    frozen=True,
    kw_only=True,
    gc=False,
    array_like=True,
    tag_field="type",
    tag="http_upload",
):
    """A file upload.

    Attributes:
        file_path: Absolute.
        headers: Pairs of a name and a value, or a map.
        fields: Likewise; form fields sent before the file.
    """

    url: str
    file_path: str
    method: Method = "POST"
    body: Body = "multipart"
    field_name: str = "file"
    file_name: str | None = None
    mime_type: str | None = None
    headers: Headers = []
    fields: Fields = []
    connect_timeout_ms: Timeout = CONNECT_TIMEOUT_MS
    stall_timeout_ms: Timeout = STALL_TIMEOUT_MS
    response_timeout_ms: Timeout = RESPONSE_TIMEOUT_MS

    def __repr__(self) -> str:
        """Leaves out all that may be a credential: headers, fields, the URL's user and query."""
        return f"http_upload(url={public_url(self.url)!r}, file_path={self.file_path!r})"


PYTHON: Final = "python"


class PythonSpec(
    msgspec.Struct,
    frozen=True,
    kw_only=True,
    gc=False,
    array_like=True,
    tag_field="type",
    tag=PYTHON,
):
    """A registered callback and its encoded argument."""

    callback_id: str
    input: bytes


class OneTimeSpec(
    msgspec.Struct,
    frozen=True,
    kw_only=True,
    gc=False,
    array_like=True,
    tag_field="type",
    tag="one_time",
):
    """Once, after a delay counted from the enqueue."""

    initial_delay_ms: Delay = 0


class ConstraintsSpec(msgspec.Struct, frozen=True, kw_only=True, gc=False, array_like=True):
    """Under which conditions a task runs.

    Attributes:
        network_type: `None` is the worker's default: a network for HTTP, none for a callback.
    """

    network_type: NetworkType | None = None
    battery_not_low: bool = False


class RetrySpec(msgspec.Struct, frozen=True, kw_only=True, gc=False, array_like=True):
    """What happens when an attempt fails."""

    max_retries: Annotated[int, msgspec.Meta(ge=0, le=RETRIES_MAX)] = 3
    initial_delay_ms: Delay = 30_000
    multiplier: Annotated[float, msgspec.Meta(ge=1, le=MULTIPLIER_MAX)] = 2.0
    max_delay_ms: Delay = 3_600_000


class TaskSpec(msgspec.Struct, frozen=True, kw_only=True, gc=False, array_like=True):
    """One task as the user described it.

    Attributes:
        task_id: Unique among live tasks; `None` lets outhaul make one.
        tag: A label shared by related tasks.
        priority: Larger goes first among tasks that are ready.
    """

    task_id: str | None = None
    worker: HttpUploadSpec | PythonSpec
    trigger: OneTimeSpec = OneTimeSpec()
    constraints: ConstraintsSpec = ConstraintsSpec()
    existing_policy: ExistingTaskPolicy = ExistingTaskPolicy.KEEP
    retry: RetrySpec = RetrySpec()
    tag: str | None = None
    priority: Annotated[int, msgspec.Meta(ge=-PRIORITY_MAX - 1, le=PRIORITY_MAX)] = 0


encode: Final = msgspec.msgpack.Encoder().encode
"""A value as the bytes that cross to the core and are stored."""
