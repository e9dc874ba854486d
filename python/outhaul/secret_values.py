"""Where the value of a secret comes from: the environment, a file, a provider."""

from __future__ import annotations

import asyncio
import inspect
import os
import stat
from typing import TYPE_CHECKING, Final

from outhaul.errors import SecretUnavailableError
from outhaul.usercode import NoThreadError, Threads, is_being_cancelled

if TYPE_CHECKING:
    from collections.abc import Mapping

    from outhaul.secrets import Provider
    from outhaul.wire import SecretRef

SECRET_BYTES_MAX: Final = 64 * 1024

# Opening neither waits for the other end of a pipe nor takes a terminal.
_READ_ONLY: Final = os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK | os.O_NOCTTY


def named(ref: SecretRef) -> str:
    """How a message calls it."""
    return f"the secret {ref.source}:{ref.name}"


async def value_of(
    ref: SecretRef,
    *,
    environ: Mapping[str, str],
    providers: Mapping[str, Provider],
    threads: Threads,
) -> str:
    """The value behind `ref`, with its prefix. Lives only as long as the caller keeps it.

    Args:
        ref: What a task stored.
        environ: Where `env` references look, usually `os.environ`.
        providers: Where `provider` references look.
        threads: Where files are read and plain functions called.

    Raises:
        NoThreadError: A thread is needed, and none can be had.
        SecretUnavailableError: There is no such secret, it is empty, no header can carry it, or it
            cannot be had now. The message names the reference, never a value.
    """
    match ref.source:
        case "env":
            value: object = environ.get(ref.name)
        case "file":
            value = await asyncio.wrap_future(threads.submit(_read, ref))
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


async def _ask(ref: SecretRef, provider: Provider | None, threads: Threads) -> object:
    if provider is None:
        # Another process may have it, and do the task.
        said = "has no provider in this process: pass it as WorkManager(secrets={name: function})"
        raise _missing(ref, said)
    try:
        if inspect.iscoroutinefunction(provider):
            return await provider()
        answer = await asyncio.wrap_future(threads.submit(provider))
        return await answer if inspect.isawaitable(answer) else answer
    except asyncio.CancelledError:
        if is_being_cancelled():
            raise
        raise _missing(ref, "could not be had: its provider was cancelled") from None
    except (KeyboardInterrupt, SystemExit, GeneratorExit, NoThreadError):
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
    return SecretUnavailableError(f"{named(ref)} {why}", argument="headers", retry=retry)
