"""The outcome of a callback: a result that can be stored, or a failure for good."""

from __future__ import annotations

from typing import Final, cast

import msgspec

from outhaul.usercode import said

RESULT_BYTES_MAX: Final = 64 * 1024

_encode: Final = msgspec.msgpack.Encoder().encode
_decode: Final = msgspec.msgpack.Decoder().decode
FALSE: Final = _encode(False)  # noqa: FBT003 — by which a callback asks for another attempt

_SCALARS: Final = frozenset({type(None), bool, int, float})


class PermanentFailure(Exception):  # noqa: N818 — it is what the callback says, not a mistake
    """Raised by a callback to end its task as failed, without another attempt."""


def encoded(answer: object) -> bytes:
    """What a callback returned, as it is stored: at most 64 KiB.

    Raises:
        PermanentFailure: It is too large or cannot be stored: another attempt would bring the same.
    """
    try:
        # First, since encoding holds the interpreter however much there is.
        is_too_large = type(answer) not in _SCALARS and _is_surely_too_large(answer)
        result = b"" if is_too_large else _encode(answer)
    except Exception as error:
        raise PermanentFailure(
            f"the result cannot be stored: {said(error)}; return None, booleans, numbers, "
            "strings, bytes, lists, dicts"
        ) from error
    if is_too_large or len(result) > RESULT_BYTES_MAX:
        raise PermanentFailure(
            f"the result takes more than {RESULT_BYTES_MAX} bytes: "
            "write it to a file and return its path"
        )
    return result


def permanent_failure(error: BaseException) -> PermanentFailure | None:
    """The failure for good that this is, or that a `TaskGroup` has in its group."""
    left = [error]
    while left:  # not by `subgroup`, which calls code of the user's
        each = left.pop()
        if issubclass(type(each), PermanentFailure):
            return cast("PermanentFailure", each)
        if issubclass(type(each), BaseExceptionGroup):
            left += reversed(BaseExceptionGroup.exceptions.__get__(each))
    return None


def _is_surely_too_large(answer: object) -> bool:
    """Whether its parts alone, at their least, take more bytes than are stored.

    Raises:
        DecodeError: It has a `msgspec.Raw` in it that is no MessagePack value.
    """
    left, parts = RESULT_BYTES_MAX, [answer]
    while parts and left >= 0:
        part = parts.pop()
        match part:
            case str() | bytes() | bytearray() | memoryview():
                left -= len(part)
            case dict():
                left -= 2 * len(part)
                if left >= 0:
                    parts += [each for each in part.values() if type(each) not in _SCALARS]
                    parts += part
            case list() | tuple() | set() | frozenset():
                left -= len(part)
                if left >= 0:
                    parts += [each for each in part if type(each) not in _SCALARS]
            case msgspec.Raw():
                _decode(part)
    return left < 0
