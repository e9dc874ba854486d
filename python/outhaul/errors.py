"""Every error outhaul raises.

::

    OuthaulError
    ├── InvalidArgumentError (ValueError)      a value that means nothing here
    │   ├── PlainSecretError                   a credential in plain text
    │   ├── SecurityViolationError             a path or an address that policy forbids
    │   └── UnknownCallbackError               no callback of that name
    ├── InvalidTypeError (TypeError)           a wrong type, or an argument that does not exist
    ├── SourceNotFoundError (FileNotFoundError)
    ├── SourcePermissionError (PermissionError)
    ├── SourceChangedError                     the file is not the one that was enqueued
    ├── SecretUnavailableError                 a reference that leads to no secret
    ├── TaskNotFoundError (LookupError)
    ├── AlreadyQueuedError                     the bare schedule has that task already
    ├── QueueFullError                         a bound is reached; try later
    ├── CursorPrunedError (LookupError)        the events after that cursor are gone
    ├── ManagerClosedError (RuntimeError)
    ├── WrongLoopError (RuntimeError)          used on another event loop than it was opened on
    ├── ForkedError (RuntimeError)             used in a forked child
    ├── ServiceError (ConnectionError)         a server that cannot be reached, or is none of ours
    ├── AccessDeniedError (PermissionError)    a server that wants a token, or another one
    ├── StoreError
    │   ├── StoreCorruptError                  not an outhaul store, or damaged
    │   ├── StoreTooNewError                   written by a newer outhaul
    │   ├── StoreUnavailableError              cannot be opened or written where it is
    │   └── StoreFullError                     the disk is full
    └── InternalError                          our own mistake

The message is for people, `code` and `argument` are for programs. No message holds a secret.
"""

from __future__ import annotations

from typing import ClassVar, Final


class OuthaulError(Exception):
    """Something that outhaul refuses or cannot do.

    Attributes:
        code: What kind of refusal, in capitals: stable, for programs.
        message: What happened and what to change. Never empty.
        argument: The argument it is about, as the caller spells it; empty where it is about none.
    """

    code: ClassVar[str] = "OUTHAUL"

    def __init__(self, message: str = "", *, argument: str = "") -> None:
        self.message = message or _first_line(type(self))
        self.argument = argument
        super().__init__(self.message)

    def __str__(self) -> str:
        return f"{self.argument}: {self.message}" if self.argument else self.message


def _first_line(cls: type) -> str:
    return (cls.__doc__ or cls.__name__).strip().partition("\n")[0]


class InvalidArgumentError(OuthaulError, ValueError):
    """An argument has a value that means nothing here."""

    code = "INVALID_ARGUMENT"


class PlainSecretError(InvalidArgumentError):
    """A credential in plain text where only a reference is stored: pass `Secret.env(...)`."""

    code = "PLAIN_SECRET"


class SecurityViolationError(InvalidArgumentError):
    """A path outside the allowed roots or of a store in use, or an address that policy forbids."""

    code = "SECURITY_VIOLATION"


class UnknownCallbackError(InvalidArgumentError):
    """No callback of that name is registered: decorate it with `@manager.worker("name")` first."""

    code = "UNKNOWN_CALLBACK"


class InvalidTypeError(OuthaulError, TypeError):
    """An argument has the wrong type, or does not exist."""

    code = "INVALID_TYPE"


class SourceNotFoundError(OuthaulError, FileNotFoundError):
    """The file to send does not exist."""

    code = "FILE_NOT_FOUND"


class SourcePermissionError(OuthaulError, PermissionError):
    """The file to send may not be read."""

    code = "PERMISSION_DENIED"


class SourceChangedError(OuthaulError):
    """The file is not the one that was enqueued: it grew, shrank, was rewritten or replaced."""

    code = "SOURCE_CHANGED"


class SecretUnavailableError(OuthaulError):
    """A secret that a task names could not be resolved.

    Attributes:
        retry: Whether it may be had later.
    """

    code = "SECRET_UNAVAILABLE"

    def __init__(self, message: str = "", *, argument: str = "", retry: bool = False) -> None:
        super().__init__(message, argument=argument)
        self.retry = retry


class TaskNotFoundError(OuthaulError, LookupError):
    """No such task."""

    code = "NOT_FOUND"


class AlreadyQueuedError(OuthaulError):
    """That task waits already.

    Only the bare `Schedule` raises it: an enqueue of a live task's id does what its
    `existing_policy` says.
    """

    code = "ALREADY_QUEUED"


class QueueFullError(OuthaulError):
    """The queue is at its bound: try again when some of it is done."""

    code = "QUEUE_FULL"


class CursorPrunedError(OuthaulError, LookupError):
    """The log has lost the events after that cursor: start again from `after=0`.

    Retention has removed them; or the store was restored, and its log ends before.
    """

    code = "CURSOR_PRUNED"


class ManagerClosedError(OuthaulError, RuntimeError):
    """The manager is closed, or was never opened: use `async with WorkManager(path)`."""

    code = "CLOSED"


class WrongLoopError(OuthaulError, RuntimeError):
    """A manager belongs to one event loop: elsewhere use `asyncio.run_coroutine_threadsafe`."""

    code = "WRONG_LOOP"


class ForkedError(OuthaulError, RuntimeError):
    """A manager does not survive a fork: open it after the fork, or start the child by spawn.

    The child may open other stores, but none that was open at the fork.
    """

    code = "FORKED"


class ServiceError(OuthaulError, ConnectionError):
    """The service cannot be reached, or is none of ours."""

    code = "SERVICE"


class AccessDeniedError(OuthaulError, PermissionError):
    """The service wants a token, or another one."""

    code = "UNAUTHORIZED"


class StoreError(OuthaulError):
    """The store cannot be opened, read or written."""

    code = "STORE"


class StoreCorruptError(StoreError):
    """The file is not an outhaul store, or is damaged."""

    code = "STORE_CORRUPT"


class StoreTooNewError(StoreError):
    """The store was written by a newer outhaul."""

    code = "STORE_TOO_NEW"


class StoreUnavailableError(StoreError):
    """The store cannot be opened or written where it is."""

    code = "STORE_UNAVAILABLE"


class StoreFullError(StoreError):
    """The disk is full: nothing was stored."""

    code = "STORE_FULL"


class InternalError(OuthaulError):
    """A mistake of outhaul's own: please report it."""

    code = "INTERNAL"


_FROM_CORE: Final[dict[str, type[OuthaulError]]] = {
    cls.code: cls
    for cls in (
        AlreadyQueuedError,
        CursorPrunedError,
        InternalError,
        InvalidArgumentError,
        ManagerClosedError,
        PlainSecretError,
        QueueFullError,
        SecurityViolationError,
        SourceChangedError,
        SourceNotFoundError,
        SourcePermissionError,
        StoreCorruptError,
        StoreFullError,
        StoreTooNewError,
        StoreUnavailableError,
        TaskNotFoundError,
        UnknownCallbackError,
    )
}


def from_core(code: str, argument: str, message: str) -> OuthaulError:
    """The error for what the core answered: the one place where its codes become classes."""
    error = _FROM_CORE.get(code)
    if error is None:
        return InternalError(f"unknown code {code} from the core: {message}", argument=argument)
    return error(message, argument=argument)
