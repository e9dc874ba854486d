"""Exceptions that raise when somebody looks at them. Not in a test's module: pytest would look."""

from __future__ import annotations

from collections.abc import Callable

from outhaul import PermanentFailure


class _WrongDeriveError(ExceptionGroup[Exception]):
    """Of a mistake that only shows when somebody splits it."""

    def derive(self, _: object) -> ExceptionGroup[Exception]:  # type: ignore[override]
        raise TypeError("nobody has tried this")


class _NamelessKind(type):
    @property
    def __name__(cls) -> str:  # type: ignore[override]  # nobody should
        raise TypeError("no name")


class _NamelessError(Exception, metaclass=_NamelessKind):
    """Its type has no name."""


class _ClasslessError(Exception):
    @property  # type: ignore[misc]  # nobody should
    def __class__(self) -> type:
        raise TypeError("no class")


class _ClasslessExit(SystemExit):
    @property  # type: ignore[misc]  # nobody should
    def __class__(self) -> type:
        raise TypeError("no class")


class _OddText(str):
    __slots__ = ()

    def encode(self, *_: str, **__: str) -> bytes:
        raise TypeError("no bytes")


class _UnspeakableError(Exception):
    def __str__(self) -> str:
        return _OddText("odd")


def _wrong_derive() -> Exception:
    return _WrongDeriveError("all", [PermanentFailure("for good"), ValueError()])


# With what is said of each.
ODD: dict[str, tuple[Callable[[], BaseException], str]] = {
    "a group that cannot be split": (_wrong_derive, "for good"),
    "a type without a name": (_NamelessError, ""),
    "an object without a class": (_ClasslessError, ""),
    "an exit without a class": (_ClasslessExit, ""),
    "a text that has no bytes": (_UnspeakableError, "odd"),
    "a time-out that says nothing": (TimeoutError, "TimeoutError: timeout"),
}
