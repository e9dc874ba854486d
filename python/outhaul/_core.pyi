"""The native half of outhaul. Only `outhaul._native` imports it.

Every class is safe to use from several threads; every method that takes a lock, copies or reads a
file first lets go of the interpreter; none calls back into Python. Times are milliseconds.
"""

from collections.abc import Sequence
from typing import Literal, TypeAlias, final

__all__ = [
    "Core",
    "ManualClock",
    "MultipartEncoder",
    "ProgressMeter",
    "Schedule",
    "release_locks_after_fork",
    "serve_sink",
]

_TextPart: TypeAlias = tuple[str, str]
_FilePart: TypeAlias = tuple[str, str, str | None, str | None]
_Update: TypeAlias = tuple[int, int, int, int, float, int | None]
_Scheduled: TypeAlias = tuple[int, bool, str]
_Reply: TypeAlias = tuple[int, bytes | _Scheduled | None, tuple[str, str, str] | None]
_Callback: TypeAlias = tuple[int, int, str, bytes, str]
_Secrets: TypeAlias = tuple[int, int, list[tuple[Literal["env", "file", "provider"], str, str]]]
_Stop: TypeAlias = tuple[int, int, str]

@final
class Core:
    """A manager's native half: the store, the schedule, the transfers and their threads.

    A call carries a *ticket*, a number of the caller's that is used once. It returns at once; the
    answer, one MessagePack value, comes out of `poll` under that ticket. Answers come in the order
    in which their transactions were committed.

    Instead of an answer there may be a refusal, `(code, argument, message)`. To any ticket:
    `CLOSED` (the core is closed), `STORE_UNAVAILABLE`, `STORE_CORRUPT` and `STORE_TOO_NEW` (the
    store cannot be read or written), `INTERNAL`. Under ticket 0 a refusal is everybody's: a thread
    has ended.
    """

    def __new__(
        cls,
        path: str,
        *,
        durability: str,
        running_max: int,
        per_host_max: int,
        pending_max: int,
        keep_completed_ms: int | None,
        keep_completed_max: int | None,
        keep_failed_ms: int | None,
        run: bool,
        allowed_roots: Sequence[str],
        allow_http: bool,
        ca_file: str | None,
        strict_addresses: bool,
        allow_addresses: Sequence[str],
        callbacks: Sequence[str],
        callbacks_elsewhere: bool,
        unmet: int,
        host: str,
        pid: int,
        clock: ManualClock | None,
    ) -> Core:
        """Opens the store and starts the threads. Blocks on the disk: call it in a thread.

        Args:
            path: The store's file; made with mode 0600 where it is missing.
            durability: `fsync` or `os`.
            running_max: Attempts under way at once, 1 to 4096: the caller sees to these bounds.
            per_host_max: Of these, transfers to one host, 1 to 4096.
            pending_max: Tasks that wait at once, 1 to 2**31.
            keep_completed_ms: How long completed tasks are kept; `None` keeps them forever.
            keep_completed_max: At most this many of them, and the oldest go; `None` keeps all.
            keep_failed_ms: How long tasks that ended otherwise are kept; `None` keeps them forever.
            run: Whether to run tasks, as soon as no other process does.
            allowed_roots: Directories that files must lie beneath; none is anywhere.
            allow_http: Whether `http://` may leave the host.
            ca_file: Certificates to trust instead of the system's, as PEM.
            strict_addresses: Whether private and loopback addresses are refused.
            allow_addresses: Networks (CIDR) that are allowed all the same.
            callbacks: The registered callbacks.
            callbacks_elsewhere: Whether tasks may name any callback.
            unmet: The constraint bits that do not hold now.
            host: This host's name, for people who read the store.
            pid: This process, likewise.
            clock: A test's clock; the host's where there is none.

        Raises:
            StoreError: The store cannot be opened.
            InvalidArgumentError: A value that means nothing.
        """
    def fileno(self) -> int:
        """A descriptor that is readable while `poll` has something; never to be closed."""
    def poll(
        self, limit: int
    ) -> tuple[list[_Reply], list[_Callback], list[_Secrets], list[_Stop], list[bytes], list[str]]:
        """What has gathered, of each kind at most `limit` (at least 1).

        If more is left, the descriptor stays readable.

        Returns:
            Answers `(ticket, value, None)` or `(ticket, None, (code, argument, message))`;
            callbacks to run `(key, attempt, callback_id, input, task_id)`;
            secrets to resolve `(key, attempt, [(source, name, prefix)])`;
            callbacks to stop `(key, attempt, reason)`;
            tasks that have failed, each an encoded map; messages for the log.
        """
    def enqueue(self, first: int, specs: Sequence[bytes]) -> None:
        """Stores a task each, under tickets that follow each other from `first` on.

        Answers: `(key, accepted, task_id)`. Refusals: `INVALID_ARGUMENT`, `PLAIN_SECRET`,
        `SECURITY_VIOLATION`, `UNKNOWN_CALLBACK`, `FILE_NOT_FOUND`, `PERMISSION_DENIED`,
        `QUEUE_FULL`, `STORE_FULL`.
        """
    def enqueue_part(self, ticket: int, specs: Sequence[bytes]) -> None:
        """Some tasks of an enqueue of several, which are admitted as they come.

        A refusal, as in `enqueue`, answers that ticket, and names its task: `tasks[n]`.
        """
    def enqueue_all(self, ticket: int) -> None:
        """Stores the tasks of the parts before, all or none.

        Answer: an encoded list of pages, where a page is an encoded list of
        `(key, accepted, task_id)`.
        """
    def cancel(
        self,
        ticket: int,
        *,
        key: int | None = None,
        task_id: str | None = None,
        tag: str | None = None,
    ) -> None:
        """Ends one task, those with a tag, or (without any) all. Answer: how many.

        Refusal: `STORE_FULL`.
        """
    def ask_task(self, ticket: int, *, key: int | None = None, task_id: str | None = None) -> None:
        """One task, by its key or the newest with an id. Answer: a record or nil."""
    def ask_tasks(
        self,
        ticket: int,
        *,
        statuses: Sequence[str],
        tag: str | None,
        prefix: str | None,
        after: int,
        limit: int,
    ) -> None:
        """At most `limit` (at least 1) tasks with a key above `after`, oldest first.

        Answer: a list of records.
        """
    def ask_tags(self, ticket: int) -> None:
        """Answer: every tag, sorted."""
    def ask_counts(self, ticket: int) -> None:
        """Answer: how many tasks stand where. O(n) in the stored tasks."""
    def ask_last_event(self, ticket: int) -> None:
        """Answer: the number of the last event."""
    def ask_events(
        self,
        ticket: int,
        *,
        after: int,
        key: int | None,
        task_id: str | None,
        tag: str | None,
        prefix: str | None,
        skip_pruned: bool,
        limit: int,
        follow: bool,
    ) -> None:
        """Events after a number; with `follow`, as soon as there is one.

        Answer: `(events, seen)`, where `seen` is how far the log was looked through. At most
        `limit` (at least 1) events, or 1 MiB of them; there are no more once none is given.

        Refusal: `CURSOR_PRUNED`, where the log ends before `after`; also where retention has
        removed what follows `after`, unless `skip_pruned` passes over that, `after` is 0 or a `key`
        is given.
        """
    def ask_terminal_event(self, ticket: int, key: int) -> None:
        """The event that ends a task, as soon as there is one. Answer: an event.

        Refusal: `NOT_FOUND`, where retention has removed the task, or there was none.
        """
    def ask_progress(
        self,
        ticket: int,
        *,
        after: int,
        key: int | None,
        task_id: str | None,
        tag: str | None,
        follow: bool,
    ) -> None:
        """Progress newer than a version; with `follow`, as soon as there is any.

        Answer: `{version, updates}`.
        """
    def abandon(self, ticket: int) -> None:
        """The caller waits for this answer no longer. Of an enqueue of several: gives it up."""
    def succeeded(self, results: Sequence[tuple[int, int, bytes]]) -> None:
        """Callbacks have done their work: `(key, attempt, result)` of each."""
    def failed(self, key: int, attempt: int, message: str, *, retry: bool) -> None:
        """A callback has not; `retry` says whether another attempt may."""
    def interrupted(self, key: int, attempt: int) -> None:
        """A callback, or the look-up of an attempt's secrets, was cut short.

        The attempt is not counted, and another one follows as soon as it may.
        """
    def provide(self, key: int, attempt: int, secrets: Sequence[str]) -> None:
        """The secrets of an attempt, with prefixes, in the order in which they were asked for."""
    def withhold(self, key: int, attempt: int, message: str, *, retry: bool) -> None:
        """Why the secrets of an attempt cannot be had; `retry` says whether they may be later."""
    def set_unmet(self, unmet: int) -> None:
        """These constraint bits do not hold now; all others do."""
    def register(self, callback_id: str) -> None:
        """A callback is registered now: its tasks may be enqueued, and run."""
    def drain(self, ticket: int) -> None:
        """Claims no more, until the core is closed. Answers nil when nothing runs."""
    def wait_idle(self, ticket: int) -> None:
        """Answers nil when nothing runs and nothing is due."""
    def close(self, ticket: int, grace_ms: int) -> None:
        """Stops everything within the grace period (`grace_ms` at least 0). Answers nil, last."""
    def poke(self) -> None:
        """Somebody has moved the clock."""
    def after_fork(self) -> None:
        """In a forked child, after `release_locks_after_fork`. No other method may follow."""

def release_locks_after_fork() -> None:
    """In a forked child: lets go of every runner's lock, which the parent keeps."""

@final
class ManualClock:
    """A wall clock and a monotonic one that only a test moves."""

    def __new__(cls, *, wall_ms: int) -> ManualClock:
        """The wall clock stands at `wall_ms`, milliseconds since the Unix epoch."""
    def advance(self, *, ms: int) -> None:
        """Both go forward."""
    def jump(self, *, ms: int) -> None:
        """Only the wall clock jumps, as when somebody sets it."""

@final
class Schedule:
    """The run queue by itself: what runs next, in memory, without a clock and without a store.

    A task waits for its due time, then for its constraints, then for a slot: one of all, and one of
    its lane. Inside a lane the smallest `due_ms - priority * ageing_ms` goes first, then the one
    that became due first. Between lanes each gives one task in turn.

    Thread-safe: every method releases the GIL and none calls back into Python. A waiting task costs
    about 75 bytes, at most twice that; a lane with nothing due, nothing running and no limit costs
    nothing. Memory is given back when the last task leaves.

    Numbers are 64-bit milliseconds since the Unix epoch where the name ends in `_ms`; task ids are
    unsigned 64-bit; lanes and constraint bits are unsigned 32-bit; priorities are signed 32-bit.
    Every method raises `OverflowError` for a number that does not fit its width.
    """

    def __new__(
        cls, *, capacity: int = 1_000_000, running_max: int = 64, ageing_ms: int = 60_000
    ) -> Schedule:
        """An empty one. Allocates nothing.

        Args:
            capacity: At most this many waiting tasks; running ones are not counted.
            running_max: At most this many attempts at once, over all lanes. 0 runs nothing.
            ageing_ms: One level of priority is worth this much waiting, in milliseconds, unsigned
                32-bit. 0 is strict: a lower priority waits for as long as a higher one is there.
        """

    def push(
        self,
        task_id: int,
        *,
        due_ms: int,
        priority: int = 0,
        lane: int = 0,
        needs: int = 0,
        now_ms: int = 0,
    ) -> None:
        """Takes a task in. O(log n).

        Args:
            task_id: As assigned by the store.
            due_ms: Not before this. It also ranks the task among due ones: the longer ago, the more
                senior.
            priority: Larger goes first inside a lane.
            lane: Whose limit it counts against, and with whom it takes turns.
            needs: The constraint bits that must all be met.
            now_ms: What is due by now goes straight to its lane.

        Raises:
            AlreadyQueuedError: `task_id` is already waiting.
            QueueFullError: `capacity` tasks are waiting.
        """

    def cancel(self, task_id: int) -> bool:
        """Takes a waiting task out, wherever it waits. False where it does not wait. O(log n)."""

    def reschedule(self, task_id: int, *, due_ms: int, now_ms: int = 0) -> bool:
        """Gives a waiting task another due time; it counts as arriving again. O(log n).

        Returns:
            False, and nothing changes, where it does not wait.
        """

    def reprioritise(self, task_id: int, *, priority: int) -> bool:
        """Gives a waiting task another priority; among equals it keeps its turn. O(log n).

        Returns:
            False, and nothing changes, where it does not wait.
        """

    def set_unmet(self, unmet: int) -> None:
        """Says which constraint bits do not hold now; due tasks that need one of them are parked.

        No task moves: O(lanes), however many tasks are waiting.
        """

    def set_lane_limit(self, lane: int, *, running_max: int | None) -> None:
        """Bounds the attempts of one lane: `None` is no limit, 0 holds the lane.

        Attempts above a lowered limit go on.
        """

    def take(self, *, now_ms: int) -> int | None:
        """The task to run next, or `None` when all slots are taken or nothing is ready. O(log n).

        The task is forgotten, but for its slots: give them back with `release(lane)`.
        """

    def release(self, lane: int) -> bool:
        """An attempt of `lane` ended: its slots are free again. False where none was counted."""

    def occupy(self, lane: int) -> None:
        """Counts an attempt of `lane` that runs already, above the limits if need be."""

    def pop_due(self, *, now_ms: int, limit: int) -> list[int]:
        """Takes at most `limit` tasks and gives each one's slots back at once. O(log n) for each.

        So limits on attempts do not bound the batch, unless one of them is 0.
        """

    def next_due_ms(self) -> int | None:
        """When the earliest task that waits for its time is due, exactly. O(1)."""

    def waiting(self, task_id: int) -> Literal["time", "constraint", "slot"] | None:
        """What a task waits for; `None` where it does not wait. O(1)."""

    def counts(self) -> tuple[int, int, int, int]:
        """How many tasks are delayed, ready, parked (due, a constraint is unmet) and running."""

    def __len__(self) -> int:
        """How many tasks wait, for a time, a constraint or a slot. O(1)."""

@final
class MultipartEncoder:
    """A `multipart/form-data` body (RFC 7578), addressed by offset.

    Its length is known before the first byte, and any byte of it can be read without the ones
    before it, so a replay or a resume starts anywhere. Files are opened and fingerprinted when the
    encoder is made and stay open until it is collected; their bytes stay on disk until read.
    """

    def __new__(
        cls,
        parts: Sequence[_TextPart | _FilePart],
        *,
        escape: str = "html5",
        boundary: str | None = None,
        roots: Sequence[str] | None = None,
    ) -> MultipartEncoder:
        """Opens the files and lays out the body. O(number of parts + length of names and values).

        Args:
            parts: In the order they are sent; names may repeat. A text field is `(name, value)`; a
                file is `(name, path, file_name, content_type)`, where `None` stands for the last
                component of the path and for `application/octet-stream`.
            escape: What becomes of quotes, backslashes and line breaks in names. `"html5"`: what
                browsers send. `"backslash"`: quoted pairs. `"percent"`: what aiohttp sends.
                `"strict"`: such names are refused.
            boundary: 1 to 70 characters, from an encoder of the same body made before; `None`
                takes 192 bits from the operating system.
            roots: Directories beneath which files may be opened, links and `..` resolved; `None`
                is everywhere.

        Raises:
            InvalidArgumentError: A name is empty or has control characters, a content type is none,
                a value contains the boundary, or an option has no such value.
            SourceNotFoundError: A path has no regular file.
            SourcePermissionError: A file may not be read.
            SecurityViolationError: A path leads out of `roots`.
        """

    @property
    def content_length(self) -> int:
        """The exact length of the body in bytes."""

    @property
    def content_type(self) -> str | None:
        """The value of the request's Content-Type header."""

    @property
    def boundary(self) -> str:
        """What separates the parts; give it to the next encoder to get the same body again."""

    def read_at(self, offset: int, size: int) -> bytes:
        """The body from `offset`: `size` bytes, or what is left; `b""` at the end and after it.

        The files are checked after their bytes were read, and all of them before the last byte of
        the body is given out. Reads the disk: call it off the event loop unless the file is cached.

        Args:
            offset: In bytes from the start of the body; unsigned 64-bit.
            size: In bytes, at most 16 MiB.

        Raises:
            SourceChangedError: A file grew, shrank, was rewritten or cut while it was read. Send
                no further byte.
            InvalidArgumentError: `size` is over the bound.
            OverflowError: A number is negative or too large.
        """

    def read_at_nowait(self, offset: int, size: int) -> bytes | None:
        """As `read_at`, on the event loop: `None` where it would have to wait for the disk.

        `None` is also the answer where the system cannot tell: on some systems for every read of a
        file, and at the end of a file, since Linux 5.9 and 5.10 may report it too early.

        Raises:
            SourceChangedError: As `read_at`.
            InvalidArgumentError: As `read_at`.
            OverflowError: As `read_at`.
        """

@final
class ProgressMeter:
    """How far one transfer has come: never backwards, never too often, never done too early.

    An update is `(percent, bytes_sent, bytes_acknowledged, bytes_total, rate_bytes_per_s,
    remaining_ms)`; the last is `None` while no rate is known. At most 101 come of one attempt.
    """

    def __new__(
        cls, total: int, *, mark_percent: int = 0, interval_min_ms: int = 100
    ) -> ProgressMeter:
        """A meter for one body.

        Args:
            total: The length of the body in bytes; unsigned 64-bit.
            mark_percent: What an earlier attempt has told; 0 to 99.
            interval_min_ms: The least time between two updates.
        """

    def begin(self, *, now_ms: int) -> _Update:
        """An attempt begins at the first byte. Always an update: 0 %, or where the mark stands.

        Args:
            now_ms: A clock that only goes forward, the same for every call.
        """

    def sent(self, bytes_so_far: int, *, now_ms: int) -> _Update | None:
        """The first `bytes_so_far` bytes of the body are handed to the kernel in this attempt.

        Args:
            bytes_so_far: From the start of the body; a smaller count than before is ignored.
            now_ms: As in `begin`.
        """

    def acknowledged(self, bytes_so_far: int, *, now_ms: int) -> _Update | None:
        """The server has the first `bytes_so_far` bytes of the body; they count as sent, too.

        Args:
            bytes_so_far: From the start of the body; a smaller count than before is ignored.
            now_ms: As in `begin`.
        """

    def answered(self, *, now_ms: int) -> _Update:
        """The server has accepted the whole body. Always an update: 100 %. Nothing follows it.

        Args:
            now_ms: As in `begin`.
        """

    @property
    def percent(self) -> int:
        """What was told last, or carried over; 100 only after `answered`."""

    @property
    def next_gate(self) -> int:
        """Below this count `sent` surely returns `None`, so a hot path need not call it."""

def serve_sink(certificate: str | None = None, key: str | None = None) -> int:
    """Serves uploads on loopback until the process ends: for the benchmarks.

    Bodies are read to their end and discarded; `GET` answers with the counts, as JSON.

    Args:
        certificate: A PEM file, for TLS.
        key: Its key, as PEM.

    Returns:
        The port.

    Raises:
        OSError: A file cannot be read, or no port be had.
    """
