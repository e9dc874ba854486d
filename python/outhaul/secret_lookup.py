"""Looks up the secrets of attempts: each attempt is answered once, and in time."""

from __future__ import annotations

import asyncio
import inspect
import os
import stat
from collections.abc import Mapping
from typing import TYPE_CHECKING, Final

from outhaul.arguments import wrong_type
from outhaul.errors import SecretUnavailableError
from outhaul.usercode import (
    CutShort,
    NoThreadError,
    StoppableTask,
    Threads,
    is_abandoned,
    is_being_cancelled,
    stop_all,
)
from outhaul.wire import SecretRef

if TYPE_CHECKING:
    from collections.abc import Sequence

    from outhaul.bridge import Bridge, SecretNames
    from outhaul.secrets import Provider

SECRET_BYTES_MAX: Final = 64 * 1024

# All secrets of one attempt are there within this many seconds of the event loop's clock, or the
# attempt ends.
RESOLVE_TIMEOUT_S: Final = 30.0

# Opening neither waits for the other end of a pipe nor takes a terminal.
_READ_ONLY: Final = os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK | os.O_NOCTTY


class SecretLookups:
    """Looks up the secrets of attempts, on one event loop at a time."""

    def __init__(self, providers: Mapping[str, Provider] | None) -> None:
        providers = {} if providers is None else providers
        if not isinstance(providers, Mapping):
            raise wrong_type("secrets", providers, "a mapping of functions")
        for name, provider in providers.items():
            if not callable(provider):
                raise wrong_type(f"secrets[{name!r}]", provider, "a function that answers a secret")
        self._providers = providers
        self._running: set[StoppableTask] = set()
        self._cut_short = CutShort()
        self._bridge: Bridge | None = None

    def open(self, bridge: Bridge, *, threads_max: int) -> None:
        """From now on answers go to `bridge`.

        At most that many threads read files and ask providers that are plain functions: one that
        hangs keeps its thread.
        """
        self._bridge = bridge
        self._threads = Threads(threads_max, "outhaul-secret")

    async def close(self) -> None:
        """Stops the look-ups that run, waits for their end, and gives up those that do not end."""
        try:
            await stop_all(self._running)
        finally:
            self._running.clear()
            self._threads.close()
            self._bridge = None

    def resolve(self, key: int, attempt: int, names: SecretNames) -> None:
        """See `bridge.SecretResolver.resolve`."""
        assert self._bridge is not None
        loop = asyncio.get_running_loop()
        refs = [
            SecretRef(source=source, name=name, prefix=prefix) for source, name, prefix in names
        ]
        lookup = _Lookup(self._bridge, key, attempt, refs)
        task = lookup.task = StoppableTask(self._look_up(lookup), loop=loop)
        self._running.add(task)
        # Not a time-out inside the task, which a provider's coroutine may not heed.
        deadline = loop.call_later(RESOLVE_TIMEOUT_S, lookup.expire)

        def ended(task: StoppableTask) -> None:
            self._running.discard(task)
            deadline.cancel()
            if task.cancelled():  # before its first step, so that it could not say so itself
                lookup.interrupt()

        task.add_done_callback(ended)

    async def _look_up(self, lookup: _Lookup) -> None:
        """INVARIANT: it never ends without an answer, unless it never begins."""
        values = []
        try:
            for ref in lookup.refs:
                lookup.current = ref
                value = await resolve(
                    ref,
                    environ=os.environ,
                    providers=self._providers,
                    threads=self._threads,
                )
                values.append(value)
        except BaseException as error:
            self._refuse(lookup, error)
            if not isinstance(error, (Exception, asyncio.CancelledError)):
                raise
        else:
            lookup.provide(values)

    def _refuse(self, lookup: _Lookup, error: BaseException) -> None:
        match error:
            case SecretUnavailableError():
                lookup.withhold(error.message, retry=error.retry)
            case NoThreadError(is_exiting=True):
                lookup.interrupt()
                lookup.bridge.claim_no_more()
            case NoThreadError():
                lookup.withhold(f"no thread can be had to look up a secret: {error}", retry=True)
            case asyncio.CancelledError() if self._cut_short.is_uncounted(lookup.key):
                lookup.interrupt()
            case asyncio.CancelledError():
                lookup.withhold("the look-up of a secret was cancelled", retry=True)
            case KeyboardInterrupt():  # somebody ends the process
                lookup.interrupt()
            case GeneratorExit() if is_abandoned(lookup.task):
                lookup.interrupt()
            case SystemExit() | GeneratorExit():  # as in `callbacks`, an attempt that counts
                message = f"the look-up of a secret raised {type(error).__name__}"
                lookup.withhold(message, retry=True)
            case _:  # its type alone: its text might hold what must not be logged
                message = f"a secret cannot be used: {type(error).__name__}"
                lookup.withhold(message, retry=False)


class _Lookup:
    """The secrets of one attempt, which is answered at most once."""

    def __init__(self, bridge: Bridge, key: int, attempt: int, refs: Sequence[SecretRef]) -> None:
        self.bridge = bridge
        self.key = key
        self.refs = refs
        self.current: SecretRef | None = None  # which is looked up now
        self.task: StoppableTask | None = None  # which looks up
        self._attempt = attempt
        self._is_answered = False

    def provide(self, values: Sequence[str]) -> None:
        if self._is_first():
            self.bridge.core.provide(self.key, self._attempt, values)

    def withhold(self, message: str, *, retry: bool) -> None:
        if self._is_first():
            self.bridge.core.withhold(self.key, self._attempt, message, retry=retry)

    def interrupt(self) -> None:
        if self._is_first():
            self.bridge.core.interrupted(self.key, self._attempt)

    def expire(self) -> None:
        """Its time is up."""
        what = "a secret" if self.current is None else _named(self.current)
        self.withhold(f"{what} was not there within {RESOLVE_TIMEOUT_S:g} s", retry=True)
        if self.task is not None:
            self.task.stop("timeout")

    def _is_first(self) -> bool:
        is_first, self._is_answered = not self._is_answered, True
        return is_first


async def resolve(
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
    return SecretUnavailableError(f"{_named(ref)} {why}", argument="headers", retry=retry)


def _named(ref: SecretRef) -> str:
    return f"the secret {ref.source}:{ref.name}"
