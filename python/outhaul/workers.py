"""The workers: a native transfer, or a registered Python callback."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from datetime import timedelta
from typing import TYPE_CHECKING, Any, Final, get_args

import msgspec

from outhaul.arguments import (
    Value,
    absolute_path,
    duration_ms,
    one_of,
    optional_text,
    text,
    unknown_keyword,
    wrong_type,
)
from outhaul.errors import InvalidArgumentError, InvalidTypeError
from outhaul.wire import (
    CONNECT_TIMEOUT_MS,
    PYTHON,
    RESPONSE_TIMEOUT_MS,
    STALL_TIMEOUT_MS,
    Body,
    HttpUploadSpec,
    Method,
    PythonSpec,
    SecretRef,
    encode,
)

if TYPE_CHECKING:
    import os
    from typing import Never

HeaderValue = str | SecretRef
Pairs = Mapping[str, Any] | Iterable[tuple[str, Any]]

CONNECT_TIMEOUT: Final = timedelta(milliseconds=CONNECT_TIMEOUT_MS)
STALL_TIMEOUT: Final = timedelta(milliseconds=STALL_TIMEOUT_MS)
RESPONSE_TIMEOUT: Final = timedelta(milliseconds=RESPONSE_TIMEOUT_MS)
_DEFAULTS_MS: Final = {
    CONNECT_TIMEOUT: CONNECT_TIMEOUT_MS,
    STALL_TIMEOUT: STALL_TIMEOUT_MS,
    RESPONSE_TIMEOUT: RESPONSE_TIMEOUT_MS,
}

METHODS: Final[tuple[Method, ...]] = get_args(Method)
BODIES: Final[tuple[Body, ...]] = get_args(Body)
# The core stores at most 1 MiB of a task: there is room left for its id, its tag and the callback.
INPUT_BYTES_MAX: Final = 1024 * 1024 - 16 * 1024
_UNENCODABLE: Final = (
    OverflowError, RecursionError, UnicodeEncodeError, TypeError, msgspec.MsgspecError,
)  # fmt: skip


class NativeWorker(Value[HttpUploadSpec]):
    """Work that never wakes the interpreter. Made by `http_upload`."""

    __slots__ = ("wire",)

    def __init__(self, *_: object, **__: object) -> None:
        """Says how one is made.

        Raises:
            InvalidTypeError: Always.
        """
        raise InvalidTypeError("is made by NativeWorker.http_upload(...)", argument="NativeWorker")

    @property
    def encoded(self) -> bytes:
        """The bytes that cross to the core and are stored."""
        return encode(self.wire)

    @classmethod
    def http_upload(
        cls,
        *,
        url: str,
        file_path: str | os.PathLike[str],
        method: Method = "POST",
        body: Body = "multipart",
        field_name: str = "file",
        file_name: str | None = None,
        mime_type: str | None = None,
        headers: Mapping[str, HeaderValue] | Iterable[tuple[str, HeaderValue]] | None = None,
        fields: Mapping[str, str] | Iterable[tuple[str, str]] | None = None,
        connect_timeout: timedelta | float = CONNECT_TIMEOUT,
        stall_timeout: timedelta | float = STALL_TIMEOUT,
        response_timeout: timedelta | float = RESPONSE_TIMEOUT,
        file_field_name: str | None = None,
        **unknown: Never,
    ) -> NativeWorker:
        """Sends a file over HTTP. Of any size: memory does not depend on it.

        Args:
            url: Where to, at most 8 KiB. `http://` needs `WorkManager(allow_http=True)`, except to
                loopback. Up to 5 redirects are followed, within the same origin and of
                those that keep the method and the body: 307 and 308.
            file_path: What. Made absolute now; the file must be there, and the same, when it runs.
            method: `POST` or `PUT`.
            body: `multipart` (a form with `fields` and the file), or `raw` (the file's bytes).
            field_name: The form field that carries the file; `file_field_name` is another name.
            file_name: The name told to the server; `None` is the file's own.
            mime_type: The media type told to the server; `None` is guessed from the name.
            headers: Request headers: a mapping or pairs, at most 100, together 64 KiB. A credential
                must be a `Secret` reference.
            fields: Form fields sent before the file: a mapping or pairs.
            connect_timeout: At most this long for a connection: a timedelta or seconds.
            stall_timeout: At most this long without a byte moving while the body is sent.
            response_timeout: At most this long from the last byte sent to the answer.
            file_field_name: Another name for `field_name`.
            unknown: Refused.

        Raises:
            InvalidArgumentError: A value out of its range, or text that UTF-8 cannot carry.
            InvalidTypeError: A wrong type, or an argument that does not exist.
        """
        if unknown:
            raise unknown_keyword(cls.http_upload, unknown)
        if type(method) is not str or method not in METHODS:
            method = one_of("method", method, METHODS)
        if type(body) is not str or body not in BODIES:
            body = one_of("body", body, BODIES)
        if file_field_name is not None:
            field_name = _from_alias(field_name, file_field_name)
        worker = cls.__new__(cls)
        worker.wire = HttpUploadSpec(
            url=text("url", url),
            file_path=absolute_path("file_path", file_path),
            method=method,
            body=body,
            field_name=text("field_name", field_name),
            file_name=optional_text("file_name", file_name),
            mime_type=optional_text("mime_type", mime_type),
            headers=_pairs("headers", headers, (str, SecretRef)) if headers else [],
            fields=_pairs("fields", fields, (str,)) if fields else [],
            connect_timeout_ms=_timeout_ms("connect_timeout", connect_timeout),
            stall_timeout_ms=_timeout_ms("stall_timeout", stall_timeout),
            response_timeout_ms=_timeout_ms("response_timeout", response_timeout),
        )
        return worker


class PythonWorker(Value[PythonSpec]):
    """Runs the callback that was registered under a name, with one argument.

    Attributes:
        encoded: The bytes that cross to the core and are stored.
    """

    __slots__ = ("encoded",)

    def __init__(self, callback_id: str, input: Any = None, **unknown: Never) -> None:  # noqa: A002, ANN401 — the seed's word; any value that MessagePack carries
        """Checks the name and encodes the argument.

        Args:
            callback_id: The name given to `@manager.worker(...)`.
            input: What the callback is given: `None`, booleans, numbers, strings, bytes, and lists
                and dictionaries of them; at most 1,008 KiB encoded. Encoded now: a later change of
                the object does not reach the task. What MessagePack has no type for arrives as what
                stands for it: a tuple or a set as a list, a dataclass as a dictionary, an enum as
                its value, a `Decimal`, a UUID or a time without a zone as a string.
            unknown: Refused.

        Raises:
            InvalidArgumentError: The input is larger than 1,008 KiB or holds a number beyond 64
                bits.
            InvalidTypeError: A wrong type, or an argument that does not exist.
        """
        if unknown:
            raise unknown_keyword(type(self).__init__, unknown)
        # Plain ASCII needs no check: this is called for every enqueue.
        if type(callback_id) is not str or not callback_id.isascii():
            callback_id = text("callback_id", callback_id)
        try:
            packed = encode(input)
        except _UNENCODABLE as error:
            raise _not_stored(error) from error
        if len(packed) > INPUT_BYTES_MAX:
            raise InvalidArgumentError(
                f"takes {len(packed)} bytes: at most {INPUT_BYTES_MAX} are stored; "
                "put the data in a file and pass its path",
                argument="input",
            )
        # As a PythonSpec, which would have to be made first.
        self.encoded = encode((PYTHON, callback_id, packed))

    @property
    def wire(self) -> PythonSpec:  # type: ignore[override]  # decoded from `encoded`, not kept
        """The name and the argument, read back."""
        return msgspec.msgpack.decode(self.encoded, type=PythonSpec)


def _not_stored(error: Exception) -> InvalidArgumentError | InvalidTypeError:
    if isinstance(error, (OverflowError, RecursionError, UnicodeEncodeError)):
        return InvalidArgumentError(f"cannot be stored: {error}", argument="input")
    return InvalidTypeError(
        f"cannot be stored: {error}; use None, booleans, numbers, strings, bytes, lists, dicts",
        argument="input",
    )


def _timeout_ms(name: str, value: timedelta | float) -> int:
    # A lookup is a fraction of the conversion, and hardly anybody changes the defaults.
    if value is CONNECT_TIMEOUT or value is STALL_TIMEOUT or value is RESPONSE_TIMEOUT:
        return _DEFAULTS_MS[value]
    return duration_ms(name, value, least_ms=1)


def _from_alias(field_name: object, file_field_name: str) -> str:
    if field_name != "file":
        raise InvalidArgumentError(
            "says the same as field_name: give one of them", argument="file_field_name"
        )
    return text("file_field_name", file_field_name)


def _pairs(argument: str, given: Pairs, allowed: tuple[type, ...]) -> list[tuple[str, Any]]:
    """Names and values in the order given. An error names the member: `headers["X-Id"]`."""
    if type(given) is dict or isinstance(given, Mapping):  # asking the ABC costs more than the rest
        given = given.items()
    elif isinstance(given, (str, bytes)) or not isinstance(given, Iterable):
        raise wrong_type(argument, given, "a mapping or a list of pairs")
    pairs = []
    for pair in given:
        if not isinstance(pair, (tuple, list)) or len(pair) != 2:  # noqa: PLR2004 — a pair
            raise InvalidTypeError("must hold pairs of a name and a value", argument=argument)
        name, value = text(argument, pair[0]), pair[1]
        if type(value) is not str or not value.isascii():
            value = _pair_value(f'{argument}["{name}"]', value, allowed)
        pairs.append((name, value))
    return pairs


def _pair_value(name: str, value: object, allowed: tuple[type, ...]) -> object:
    if isinstance(value, str):
        return text(name, value)
    if not isinstance(value, allowed):
        expected = "a string or a Secret reference" if SecretRef in allowed else "a string"
        raise wrong_type(name, value, expected)
    return value
