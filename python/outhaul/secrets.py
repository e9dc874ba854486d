"""References to credentials. The reference is stored; the value is looked up for each attempt."""

from __future__ import annotations

import asyncio
import inspect
from collections.abc import Awaitable, Callable, Mapping
from typing import TYPE_CHECKING, Final

from outhaul.arguments import absolute_path, text
from outhaul.errors import InvalidArgumentError, SecretUnavailableError
from outhaul.wire import SecretRef

if TYPE_CHECKING:
    import os

    from outhaul.wire import SecretSource

Provider = Callable[[], str | Awaitable[str]]
"""Answers a secret when asked: a function (called in a thread) or a coroutine function."""

SECRET_BYTES_MAX: Final = 64 * 1024


class Secret:
    """Makes references to secrets, for headers: `Secret.env("API_TOKEN", prefix="Bearer ")`."""

    @staticmethod
    def env(name: str, *, prefix: str = "") -> SecretRef:
        """The environment variable `name`, read when an attempt begins."""
        return _reference("env", name, prefix)

    @staticmethod
    def file(path: str | os.PathLike[str], *, prefix: str = "") -> SecretRef:
        """The contents of a file (UTF-8, at most 64 KiB) without its trailing newline."""
        return _reference("file", absolute_path("path", path), prefix)

    @staticmethod
    def provider(name: str, *, prefix: str = "") -> SecretRef:
        """What `WorkManager(secrets={name: …})` answers: a function or a coroutine function."""
        return _reference("provider", name, prefix)


def _reference(source: SecretSource, name: str, prefix: str) -> SecretRef:
    if not text("name", name):
        raise InvalidArgumentError("is empty: say where the secret is found", argument="name")
    return SecretRef(source=source, name=name, prefix=text("prefix", prefix))


async def resolve(
    ref: SecretRef, *, environ: Mapping[str, str], providers: Mapping[str, Provider]
) -> str:
    """The value behind `ref`, with its prefix. Lives only as long as the caller keeps it.

    Args:
        ref: What a task stored.
        environ: Where `env` references look, usually `os.environ`.
        providers: Where `provider` references look.

    Raises:
        SecretUnavailableError: There is no such secret, it is empty, or no header can carry it.
            The message names the reference, never a value.
    """
    match ref.source:
        case "env":
            value: object = environ.get(ref.name)
        case "file":
            value = await asyncio.to_thread(_read, ref)
        case "provider":
            value = await _ask(ref, providers.get(ref.name))
        case _:
            raise _unavailable(ref, "is of no known kind")
    if value is None:
        raise _unavailable(ref, "is not set")
    if not isinstance(value, str):
        raise _unavailable(ref, f"is a {type(value).__name__}, not a string")
    if not value:
        raise _unavailable(ref, "is empty")
    if any(ch in value for ch in "\r\n\0"):
        raise _unavailable(ref, "holds a line break or NUL, which no header can carry")
    # Looked for rather than encoded: the error of an encoder holds the value.
    if any("\ud800" <= ch <= "\udfff" for ch in value):
        raise _unavailable(ref, "is not UTF-8 text")
    return ref.prefix + value


def _read(ref: SecretRef) -> str:
    try:
        with open(ref.name, "rb") as file:  # noqa: PTH123 — pathlib costs 4 ms at import
            content = file.read(SECRET_BYTES_MAX + 1)
    except OSError as error:
        raise _unavailable(ref, f"cannot be read: {error.strerror}") from None
    except ValueError:
        raise _unavailable(ref, "cannot be read: its path holds a NUL") from None
    if len(content) > SECRET_BYTES_MAX:
        raise _unavailable(ref, f"is longer than {SECRET_BYTES_MAX} bytes")
    try:
        return content.decode().removesuffix("\n").removesuffix("\r")
    except UnicodeDecodeError:
        raise _unavailable(ref, "is not UTF-8 text") from None


async def _ask(ref: SecretRef, provider: Provider | None) -> object:
    if provider is None:
        raise _unavailable(ref, "has no provider: pass it as WorkManager(secrets={name: function})")
    try:
        if inspect.iscoroutinefunction(provider):
            return await provider()
        answer = await asyncio.to_thread(provider)
        return await answer if inspect.isawaitable(answer) else answer
    except asyncio.CancelledError:
        if is_being_cancelled():
            raise
        raise _unavailable(ref, "could not be had: its provider was cancelled") from None
    except Exception as error:  # noqa: BLE001 — whatever the user's code raises
        # Without the cause: its text might hold what must not be logged.
        raise _unavailable(ref, f"could not be had: its provider raised {_name(error)}") from None


def is_being_cancelled() -> bool:
    """Whether somebody cancels this `asyncio.Task`; else a `CancelledError` is its own code's."""
    task = asyncio.current_task()
    return task is not None and task.cancelling() > 0


def _name(error: Exception) -> str:
    return type(error).__name__


def _unavailable(ref: SecretRef, why: str) -> SecretUnavailableError:
    return SecretUnavailableError(f"the secret {ref.source}:{ref.name} {why}", argument="headers")
