"""References to credentials. The reference is stored; the value is looked up for each attempt."""

from __future__ import annotations

import asyncio
import inspect
import os
import stat
from collections.abc import Awaitable, Callable, Iterable, Mapping
from typing import TYPE_CHECKING, Final

from outhaul.arguments import absolute_path, text
from outhaul.errors import InvalidArgumentError, SecretUnavailableError
from outhaul.usercode import called, is_being_cancelled
from outhaul.wire import SecretRef

if TYPE_CHECKING:
    from concurrent.futures import Executor

    from outhaul.wire import SecretSource

Provider = Callable[[], str | Awaitable[str]]
"""Answers a secret when asked: a function (called in a thread) or a coroutine function.

It has `RESOLVE_TIMEOUT_S` for it. If it raises or takes longer, the attempt ends and the task's
policy says when the next one asks again.
"""

SECRET_BYTES_MAX: Final = 64 * 1024

# All secrets of one attempt are there within this many seconds of the event loop's clock, or the
# attempt ends.
RESOLVE_TIMEOUT_S: Final = 30.0

# Opening neither waits for the other end of a pipe nor takes a terminal.
_READ_ONLY: Final = os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK | os.O_NOCTTY


class Secret:
    """Makes references to secrets, for headers: `Secret.env("API_TOKEN", prefix="Bearer ")`."""

    @staticmethod
    def env(name: str, *, prefix: str = "") -> SecretRef:
        """The environment variable `name`, read when an attempt begins."""
        return _reference("env", name, prefix)

    @staticmethod
    def file(path: str | os.PathLike[str], *, prefix: str = "") -> SecretRef:
        """The contents of a regular file (UTF-8, at most 64 KiB) without its trailing newline."""
        return _reference("file", absolute_path("path", path), prefix)

    @staticmethod
    def provider(name: str, *, prefix: str = "") -> SecretRef:
        """What `WorkManager(secrets={name: …})` answers: a function or a coroutine function."""
        return _reference("provider", name, prefix)


def _reference(source: SecretSource, name: str, prefix: str) -> SecretRef:
    if not text("name", name):
        raise InvalidArgumentError("is empty: say where the secret is found", argument="name")
    return SecretRef(source=source, name=name, prefix=text("prefix", prefix))


async def resolve_all(
    refs: Iterable[SecretRef],
    *,
    environ: Mapping[str, str],
    providers: Mapping[str, Provider],
    threads: Executor | None = None,
) -> list[str]:
    """The values behind the references of one attempt, in order, within `RESOLVE_TIMEOUT_S`.

    Raises:
        SecretUnavailableError: As `resolve`, or one took too long.
    """
    values = []
    ref = None
    try:
        async with asyncio.timeout(RESOLVE_TIMEOUT_S):
            for ref in refs:
                value = await resolve(ref, environ=environ, providers=providers, threads=threads)
                values.append(value)
    except TimeoutError:
        assert ref is not None  # nothing else took time
        raise _missing(ref, f"was not there within {RESOLVE_TIMEOUT_S:g} s") from None
    return values


async def resolve(
    ref: SecretRef,
    *,
    environ: Mapping[str, str],
    providers: Mapping[str, Provider],
    threads: Executor | None = None,
) -> str:
    """The value behind `ref`, with its prefix. Lives only as long as the caller keeps it.

    Args:
        ref: What a task stored.
        environ: Where `env` references look, usually `os.environ`.
        providers: Where `provider` references look.
        threads: Where files are read and plain functions called; the event loop's by default.

    Raises:
        SecretUnavailableError: There is no such secret, it is empty, no header can carry it, or it
            cannot be had now. The message names the reference, never a value.
    """
    match ref.source:
        case "env":
            value: object = environ.get(ref.name)
        case "file":
            value = await asyncio.get_running_loop().run_in_executor(threads, _read, ref)
        case "provider":
            value = await _ask(ref, providers.get(ref.name), threads)
        case _:
            raise _unusable(ref, "is of no known kind")
    if value is None:  # it may be, with the next start of the process
        raise _missing(ref, "is not set")
    if not isinstance(value, str):
        raise _unusable(ref, f"is a {type(value).__name__}, not a string")
    if not value:
        raise _unusable(ref, "is empty")
    if any(ch in value for ch in "\r\n\0"):
        raise _unusable(ref, "holds a line break or NUL, which no header can carry")
    # Looked for rather than encoded: the error of an encoder holds the value.
    if any("\ud800" <= ch <= "\udfff" for ch in value):
        raise _unusable(ref, "is not UTF-8 text")
    return ref.prefix + value


def _read(ref: SecretRef) -> str:
    try:
        with open(ref.name, "rb", opener=_open_regular) as file:
            content = file.read(SECRET_BYTES_MAX + 1)
    except _NotAFileError:
        raise _unusable(ref, "is not a regular file") from None
    except OSError as error:
        raise _missing(ref, f"cannot be read: {error.strerror}") from None
    except ValueError:
        raise _unusable(ref, "cannot be read: its path holds a NUL") from None
    if not content:
        raise _missing(ref, "is empty")  # somebody may be about to write it
    if len(content) > SECRET_BYTES_MAX:
        raise _unusable(ref, f"is longer than {SECRET_BYTES_MAX} bytes")
    try:
        return content.decode().removesuffix("\n").removesuffix("\r")
    except UnicodeDecodeError:
        raise _unusable(ref, "is not UTF-8 text") from None


class _NotAFileError(Exception):
    """A directory, a pipe, a device: reading it might take forever, or change something."""


def _open_regular(path: str, _: int) -> int:
    descriptor = os.open(path, _READ_ONLY)
    if not stat.S_ISREG(os.fstat(descriptor).st_mode):
        os.close(descriptor)
        raise _NotAFileError
    return descriptor


async def _ask(ref: SecretRef, provider: Provider | None, threads: Executor | None) -> object:
    if provider is None:
        # Another process may have it, and do the task.
        said = "has no provider in this process: pass it as WorkManager(secrets={name: function})"
        raise _missing(ref, said)
    try:
        if inspect.iscoroutinefunction(provider):
            return await provider()
        answer = await asyncio.get_running_loop().run_in_executor(threads, called, provider)
        return await answer if inspect.isawaitable(answer) else answer
    except asyncio.CancelledError:
        if is_being_cancelled():
            raise
        raise _missing(ref, "could not be had: its provider was cancelled") from None
    except (KeyboardInterrupt, SystemExit):
        raise
    except BaseException as error:  # noqa: BLE001 — whatever the user's code raises
        # Without the cause: its text might hold what must not be logged.
        said = f"could not be had: its provider raised {type(error).__name__}"
        raise _missing(ref, said) from None


def _unusable(ref: SecretRef, why: str) -> SecretUnavailableError:
    """It will be no better the next time."""
    return _unavailable(ref, why, retry=False)


def _missing(ref: SecretRef, why: str) -> SecretUnavailableError:
    """It may be there the next time."""
    return _unavailable(ref, why, retry=True)


def _unavailable(ref: SecretRef, why: str, *, retry: bool) -> SecretUnavailableError:
    message = f"the secret {ref.source}:{ref.name} {why}"
    return SecretUnavailableError(message, argument="headers", retry=retry)
