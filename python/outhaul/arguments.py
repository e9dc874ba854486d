"""What every constructor checks: types, ranges, unknown keywords. Each answers one typed error.

What an argument *means* (a URL, a header, a path) is checked by the core, once.
"""

from __future__ import annotations

import enum
import math
import os
from collections.abc import Iterable
from datetime import timedelta
from typing import TYPE_CHECKING, Any, Final, Generic, TypeVar

from outhaul.errors import InvalidArgumentError, InvalidTypeError

if TYPE_CHECKING:
    from collections.abc import Callable, Collection

DURATION_MS_MAX: Final = 10 * 366 * 86_400_000

_MILLISECOND: Final = timedelta(milliseconds=1)

_Choice = TypeVar("_Choice", bound=enum.Enum)
_Wire = TypeVar("_Wire")


class Value(Generic[_Wire]):
    """What a user describes: checked when it is made, then one frozen value.

    A subclass has a slot for that value, or makes it of what it keeps.
    """

    __slots__ = ()

    wire: _Wire

    def __eq__(self, other: object) -> bool:
        return type(self) is type(other) and self.wire == getattr(other, "wire", None)

    def __hash__(self) -> int:
        return hash(repr(self.wire))

    def __repr__(self) -> str:
        return f"{type(self).__name__}({self.wire!r})"


def text(name: str, value: object) -> str:
    """`value`, which must be a string that UTF-8 can carry; a plain one of a subclass's."""
    if type(value) is not str:
        if not isinstance(value, str):
            raise wrong_type(name, value, "a string")
        value = str.__str__(value)  # msgspec takes no other
    if not value.isascii():
        try:
            value.encode()
        except UnicodeEncodeError as error:
            raise InvalidArgumentError(
                f"is not valid Unicode at position {error.start}: only UTF-8 text can be stored",
                argument=name,
            ) from None
    return value


def optional_text(name: str, value: object) -> str | None:
    """As `text`, or `None`."""
    return None if value is None else text(name, value)


def absolute_path(name: str, value: object) -> str:
    """A path, as text, made absolute but not resolved: links stay links."""
    path = value if type(value) is str else _path_text(name, value)
    if not path:
        raise InvalidArgumentError("is empty: give the path of a file", argument=name)
    if not path.isascii():
        try:
            path.encode()
        except UnicodeEncodeError:
            raise InvalidArgumentError(
                f"{path!a} is not UTF-8: only such paths can be stored; rename the file",
                argument=name,
            ) from None
    # Most paths are normal already, and finding that out costs a tenth of making them so.
    if path[0] == "/" and path[-1] != "/" and "/." not in path and "//" not in path:
        return path
    return os.path.abspath(path)  # noqa: PTH100 — Path.resolve() would follow links


def several(name: str, value: object, what: str) -> Iterable[Any]:
    """`value`, which must be a collection or an iterator, and not of characters."""
    if isinstance(value, (str, bytes)) or not isinstance(value, Iterable):
        raise wrong_type(name, value, f"a list of {what}")
    return value


def directories(name: str, value: object) -> list[str]:
    """Paths of directories, at least one; of `None`, none."""
    if value is None:
        return []
    if paths := [absolute_path(name, path) for path in several(name, value, "directories")]:
        return paths
    raise InvalidArgumentError(
        "is empty: name a directory, or leave it out to allow any file", argument=name
    )


def _path_text(name: str, value: object) -> str:
    try:
        path = os.fspath(value)  # type: ignore[call-overload]  # it answers TypeError itself
    except TypeError:
        path = None
    if not isinstance(path, str):
        raise wrong_type(name, value, "a string or a Path")
    return str.__str__(path)  # as in `text`


def boolean(name: str, value: object) -> bool:
    """A boolean, and nothing that is only taken for one."""
    if not isinstance(value, bool):
        raise wrong_type(name, value, "True or False")
    return value


def integer(name: str, value: object, *, least: int, most: int) -> int:
    """`value`, which must be an integer in that range; a plain one of a subclass's."""
    if type(value) is not int:
        if not isinstance(value, int) or isinstance(value, bool):  # which is no number here
            raise wrong_type(name, value, "an integer")
        value = int.__int__(value)
    if not least <= value <= most:
        raise InvalidArgumentError(f"is {_shown(value)}: use {least} to {most}", argument=name)
    return value


def number(name: str, value: object, *, least: float, most: float) -> float:
    """`value`, which must be a number in that range."""
    if not isinstance(value, (int, float)) or isinstance(value, bool):
        raise wrong_type(name, value, "a number")
    if not least <= value <= most:  # false for NaN, too
        raise InvalidArgumentError(f"is {_shown(value)}: use {least:g} to {most:g}", argument=name)
    return float(value)


def duration_ms(name: str, value: object, *, least_ms: int = 0) -> int:
    """A timedelta or a number of seconds, as milliseconds, rounded up."""
    if isinstance(value, timedelta):
        ms = value / _MILLISECOND
    elif isinstance(value, (int, float)) and not isinstance(value, bool):
        ms = round(value * 1000, 6)  # 0.007 s are no more than 7 ms
    else:
        raise wrong_type(name, value, "a timedelta or a number of seconds")
    if not least_ms <= ms <= DURATION_MS_MAX:  # false for NaN, too
        seconds = value.total_seconds() if isinstance(value, timedelta) else value
        least = "0" if least_ms == 0 else f"at least {least_ms / 1000:g} s"
        allowed = (
            f"{least} and at most 10 years" if least_ms >= 0 else "at most 10 years either way"
        )
        raise InvalidArgumentError(f"is {_shown(seconds)} s: use {allowed}", argument=name)
    return math.ceil(ms)


def _shown(value: float) -> str:
    try:
        return str(value)
    except ValueError:  # CPython writes out no integer of more than 4,300 digits
        return "a number of thousands of digits"


def choice(name: str, value: object, of: type[_Choice]) -> _Choice:
    """A member of `of`, given as itself or as its string."""
    if isinstance(value, of):
        return value
    if not isinstance(value, str):
        raise wrong_type(name, value, f"a {of.__name__}")
    try:
        return of(value)
    except ValueError:
        raise unknown_choice(name, value, (str(member.value) for member in of)) from None


def one_of(name: str, value: object, known: Collection[str]) -> Any:  # noqa: ANN401 — a Literal
    """`value`, which must be one of those strings."""
    word = text(name, value)
    if word not in known:
        raise unknown_choice(name, word, known)
    return word


def unknown_choice(name: str, value: str, known: Iterable[str]) -> InvalidArgumentError:
    """The refusal of a word that is none of those."""
    return InvalidArgumentError(f"is {value!r}: use one of {', '.join(known)}", argument=name)


def wrong_type(name: str, value: object, expected: str) -> InvalidTypeError:
    """The refusal of a type. Says the type, never the value: that might be a secret."""
    return InvalidTypeError(f"must be {expected}, not {type(value).__name__}", argument=name)


def unknown_keyword(call: Callable[..., Any], given: Iterable[str]) -> InvalidTypeError:
    """The refusal of keyword arguments that `call` does not have, with the likely fix."""
    # Imported here: only a mistake needs them.
    import difflib  # noqa: PLC0415
    import inspect  # noqa: PLC0415

    name = next(iter(given))
    known = [
        parameter.name
        for parameter in inspect.signature(call).parameters.values()
        if parameter.kind is not parameter.VAR_KEYWORD and parameter.name != "self"
    ]
    close = difflib.get_close_matches(name, known, n=1)
    fix = f"did you mean {close[0]}?" if close else f"there are {', '.join(known)}"
    return InvalidTypeError(f"is not an argument here: {fix}", argument=name)
