"""The words of outhaul: statuses, results, events, progress.

The life of a task. What is not drawn does not happen; the core's table is the authority::

                       enqueue
                          │
                          ▼   retry, interrupted, rescued
        cancel ┌───── PENDING ◄──────────────────────┐
               │          │ claim                    │
               │          ▼                          │
               ├────── RUNNING ──────────────────────┘
               │          │
               │          ├── success ──────────► COMPLETED
               ▼          └── no retry left ────► FAILED
           CANCELLED

`PAUSED` (held by the user) and `BLOCKED` (waits for a predecessor) can be cancelled too;
`EXPIRED` is for a task whose deadline passed. The four on the right and at the bottom are
terminal: nothing leaves them.
"""

from __future__ import annotations

import enum
from datetime import UTC, datetime
from typing import Final

import msgspec

from outhaul.human import HumanProgress


class TaskStatus(str, enum.Enum):
    """Where a task stands. A `str`: `status == "pending"` holds.

    Reserved, not produced by this version: `PAUSED`, `BLOCKED`, `EXPIRED`.
    """

    PENDING = "pending"
    RUNNING = "running"
    PAUSED = "paused"
    BLOCKED = "blocked"
    COMPLETED = "completed"
    FAILED = "failed"
    CANCELLED = "cancelled"
    EXPIRED = "expired"

    @property
    def is_terminal(self) -> bool:
        """Whether nothing can happen to the task any more."""
        return self in _TERMINAL_STATUSES


_TERMINAL_STATUSES = frozenset(
    {TaskStatus.COMPLETED, TaskStatus.FAILED, TaskStatus.CANCELLED, TaskStatus.EXPIRED}
)

# Where a task stands that has not ended.
LIVE: Final = tuple(status for status in TaskStatus if not status.is_terminal)

KEY_MAX: Final = 2**63 - 1
SEQ_MAX: Final = 2**63 - 1

# A longer answer comes in pages, so that none is large.
PAGE: Final = 500


class WaitingOn(str, enum.Enum):
    """What a pending task waits for.

    `TIME` is its delay, `RETRY` the wait after a failed attempt, `NETWORK` and `BATTERY` that
    constraint, and `LIMIT` anything else: a free slot, the registration of its callback, or its
    turn after the process has died under it.
    """

    TIME = "time"
    RETRY = "retry"
    NETWORK = "network"
    BATTERY = "battery"
    LIMIT = "limit"


class ScheduleResult(str, enum.Enum):
    """What became of an enqueue.

    Reserved, not produced by this version: `THROTTLED`, `REJECTED_OS_POLICY`, `DEADLINE_PASSED`.
    """

    ACCEPTED = "accepted"
    KEPT = "kept"
    THROTTLED = "throttled"
    REJECTED_OS_POLICY = "rejected_os_policy"
    DEADLINE_PASSED = "deadline_passed"


class ExistingTaskPolicy(str, enum.Enum):
    """What an enqueue does when a live task has its id."""

    KEEP = "keep"
    REPLACE = "replace"


class NetworkType(str, enum.Enum):
    """A kind of network."""

    NOT_REQUIRED = "not_required"
    CONNECTED = "connected"


class ErrorCode(str, enum.Enum):
    """Why an attempt did not succeed, for programs.

    Reserved, not produced by this version: `INSUFFICIENT_STORAGE`.
    """

    NETWORK_ERROR = "NETWORK_ERROR"
    TIMEOUT = "TIMEOUT"
    HTTP_CLIENT_ERROR = "HTTP_CLIENT_ERROR"
    HTTP_SERVER_ERROR = "HTTP_SERVER_ERROR"
    FILE_NOT_FOUND = "FILE_NOT_FOUND"
    PERMISSION_DENIED = "PERMISSION_DENIED"
    SOURCE_CHANGED = "SOURCE_CHANGED"
    INSUFFICIENT_STORAGE = "INSUFFICIENT_STORAGE"
    SECURITY_VIOLATION = "SECURITY_VIOLATION"
    TLS_ERROR = "TLS_ERROR"
    CANCELLED = "CANCELLED"
    WORKER_EXCEPTION = "WORKER_EXCEPTION"
    SECRET_UNAVAILABLE = "SECRET_UNAVAILABLE"  # noqa: S105 — a code
    CRASHED = "CRASHED"
    UNKNOWN = "UNKNOWN"


class EventKind(str, enum.Enum):
    """What happened to a task, in the order of the numbers the store writes."""

    ENQUEUED = "enqueued"
    STARTED = "started"
    RETRY_SCHEDULED = "retry_scheduled"
    INTERRUPTED = "interrupted"
    RESCUED = "rescued"
    COMPLETED = "completed"
    FAILED = "failed"
    CANCELLED = "cancelled"
    REPLACED = "replaced"

    @property
    def is_terminal(self) -> bool:
        """Whether it is the last event of its task."""
        return self in _TERMINAL_KINDS


_TERMINAL_KINDS = frozenset(
    {EventKind.COMPLETED, EventKind.FAILED, EventKind.CANCELLED, EventKind.REPLACED}
)


def _instant(at_ms: int) -> datetime:
    return datetime.fromtimestamp(at_ms / 1000, UTC)


class TaskRecord(msgspec.Struct, frozen=True, kw_only=True):
    """One task as it stands. Times are milliseconds since the Unix epoch, and UTC datetimes.

    Attributes:
        task_id: The caller's id, or the generated one.
        key: The internal id: ascending, never reused.
        status: Where it stands.
        worker: What does the work: `http_upload` or `python`.
        file_path: The file that an upload sends.
        callback_id: The callback that a Python worker calls.
        tag: The label it was given.
        priority: Larger goes first.
        attempt: Attempts begun so far.
        waiting_on: Why it is pending; `None` where it is not.
        error_code: Why the last attempt did not succeed, for programs.
        http_status: The last answer's status, where there was one.
        message: The same for people; empty where nothing went wrong.
    """

    task_id: str
    key: int
    status: TaskStatus
    worker: str
    created_at_ms: int
    file_path: str | None = None
    callback_id: str | None = None
    run_at_ms: int | None = None
    tag: str | None = None
    priority: int = 0
    attempt: int = 0
    waiting_on: WaitingOn | None = None
    finished_at_ms: int | None = None
    error_code: ErrorCode | None = None
    http_status: int | None = None
    message: str = ""

    @property
    def created_at(self) -> datetime:
        """When it was enqueued."""
        return _instant(self.created_at_ms)

    @property
    def run_at(self) -> datetime | None:
        """When it is due; `None` once it has ended."""
        return None if self.run_at_ms is None else _instant(self.run_at_ms)

    @property
    def finished_at(self) -> datetime | None:
        """When it ended."""
        return None if self.finished_at_ms is None else _instant(self.finished_at_ms)


class TaskResult(msgspec.Struct, frozen=True, kw_only=True):
    """What a successful attempt brought.

    Attributes:
        http_status: The answer's status, where there was one.
        content_type: The answer's media type, where it named one.
        body: The first 64 KiB of the answer, credentials that it repeats starred out; or the
            callback's encoded result.
        body_truncated: Whether the answer was longer than that.
        bytes_sent: Bytes of the request body that were sent.
    """

    http_status: int | None = None
    content_type: str | None = None
    body: bytes = b""
    body_truncated: bool = False
    bytes_sent: int = 0

    @property
    def value(self) -> object:
        """What the callback returned; only for Python workers."""
        return msgspec.msgpack.decode(self.body)


class TaskEvent(msgspec.Struct, frozen=True, kw_only=True):
    """A durable, numbered record of what happened to a task.

    Attributes:
        seq: Its number in the log: ascending, never reused; a cursor for `events(after=…)`.
        kind: What happened.
        attempt: The attempt it is about, from 1; 0 where it is about none.
        retry_at_ms: When the next attempt is due, for `RETRY_SCHEDULED`.
        message: For people: English, with stable phrases, no secrets.
        result: What a completed task brought.
    """

    seq: int
    at_ms: int
    kind: EventKind
    task_id: str
    key: int
    tag: str | None = None
    attempt: int = 0
    error_code: ErrorCode | None = None
    http_status: int | None = None
    message: str = ""
    retry_at_ms: int | None = None
    result: TaskResult | None = None

    @property
    def at(self) -> datetime:
        """When it happened, UTC."""
        return _instant(self.at_ms)

    @property
    def retry_at(self) -> datetime | None:
        """When the next attempt is due, UTC."""
        return None if self.retry_at_ms is None else _instant(self.retry_at_ms)

    @property
    def success(self) -> bool | None:
        """`True` once completed, `False` once failed for good, `None` in every other event."""
        if self.kind is EventKind.COMPLETED:
            return True
        return False if self.kind is EventKind.FAILED else None

    @property
    def is_terminal(self) -> bool:
        """Whether it is the last event of its task."""
        return self.kind.is_terminal


# The production guide calls the terminal form by this name.
TaskCompletionEvent = TaskEvent


class TaskProgress(HumanProgress, msgspec.Struct, frozen=True, kw_only=True, gc=False):
    """How far a transfer is. Transient: only the latest is kept.

    Attributes:
        percent: 0 to 100, never going back; 100 only when the server has answered.
        bytes_sent: Handed to the network.
        bytes_acknowledged: Known to have arrived.
        bytes_total: Of the whole request body.
        rate_bytes_per_s: Smoothed.
        remaining_ms: Estimated; `None` where nothing is known.
    """

    task_id: str
    key: int
    percent: int
    bytes_sent: int
    bytes_acknowledged: int
    bytes_total: int
    rate_bytes_per_s: float = 0.0
    remaining_ms: int | None = None


class Stats(msgspec.Struct, frozen=True, kw_only=True, gc=False):
    """How many tasks stand where.

    Attributes:
        last_event: The number of the last event at that moment: a cursor for `events(after=…)`.
    """

    pending: int = 0
    running: int = 0
    paused: int = 0
    blocked: int = 0
    completed: int = 0
    failed: int = 0
    cancelled: int = 0
    expired: int = 0
    last_event: int = 0

    @property
    def live(self) -> int:
        """Tasks that have not ended."""
        return self.pending + self.running + self.paused + self.blocked

    @property
    def finished(self) -> int:
        """Tasks that have ended, however."""
        return self.completed + self.failed + self.cancelled + self.expired
