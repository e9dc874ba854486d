"""The other side of the service: the verbs of a `WorkManager`, asked of a server."""

from __future__ import annotations

import asyncio
import contextlib
from contextlib import aclosing
from typing import TYPE_CHECKING, Final, Self, TypeVar

import aiohttp
import msgspec
from aiohttp.http import HttpProcessingError
from yarl import URL

from outhaul.arguments import choice, text
from outhaul.errors import (
    InvalidArgumentError,
    OuthaulError,
    ServiceError,
    TaskNotFoundError,
)
from outhaul.model import Stats, TaskEvent, TaskProgress, TaskRecord, TaskStatus
from outhaul.queries import PAGE
from outhaul.reads import LIVE
from outhaul.service.remote_task import RemoteTask
from outhaul.service.specs import Cancelled, Page, Scheduled, path_of
from outhaul.service.translate import as_json, refusal
from outhaul.wire import public_url

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, Iterable
    from types import TracebackType

    from outhaul.tasks import Task

# For an answer, not for a stream: those last.
ANSWER_TIMEOUT_S: Final = 60.0
CONNECT_TIMEOUT_S: Final = 10.0

# A stream that says nothing for this long is dead: the server sends a heartbeat more often.
SILENCE_MAX_S: Final = 60.0

# A broken stream is taken up again, unless this many tries in a row come to nothing.
RECONNECTS_MAX: Final = 10
RECONNECT_AFTER_S: Final = 1.0

# At most this many results are waited for at once, each with a stream; of the other waits at most
# this many look at once whether their result is there already.
RESULTS_MAX: Final = 256
LOOKS_MAX: Final = 16

# One line of a stream holds an event, with at most 64 KiB of an answer in base64.
_BUFFER_BYTES: Final = 256 * 1024

_Answer = TypeVar("_Answer")
_ENCODER: Final = msgspec.json.Encoder()
_EVENT: Final = msgspec.json.Decoder(TaskEvent)
_PROGRESS: Final = msgspec.json.Decoder(TaskProgress)
_BROKEN: Final = (aiohttp.ClientError, TimeoutError)


class Client:
    """Asks a server what a `WorkManager` is asked in its own process. Paths are the server's.

    Attributes:
        results: Whoever waits for a result holds one of these, and a connection.
        looks: Likewise who looks whether it is there already.
    """

    def __init__(self, url: str, *, token: str | None = None) -> None:
        """Connects to nothing yet.

        Args:
            url: Where the service is, as in `http://127.0.0.1:8420`.
            token: What it wants to see.

        Raises:
            InvalidArgumentError: That is no address of a server.
        """
        self._url = _base(url)
        self._headers = {} if token is None else {"Authorization": f"Bearer {token}"}
        self.results = asyncio.Semaphore(RESULTS_MAX)
        self.looks = asyncio.Semaphore(LOOKS_MAX)
        self._session: aiohttp.ClientSession | None = None
        self._was_reached = False

    async def __aenter__(self) -> Self:
        timeout = aiohttp.ClientTimeout(
            total=None, sock_connect=CONNECT_TIMEOUT_S, sock_read=ANSWER_TIMEOUT_S
        )
        self._session = aiohttp.ClientSession(
            headers=self._headers,
            timeout=timeout,
            read_bufsize=_BUFFER_BYTES,
            # No question waits for a connection that a stream holds.
            connector=aiohttp.TCPConnector(limit=0),
        )
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        if self._session is not None:
            await self._session.close()

    async def enqueue_all(self, tasks: Iterable[Task]) -> list[RemoteTask]:
        """As `WorkManager.enqueue_all`."""
        body = _ENCODER.encode([as_json(at, task) for at, task in enumerate(tasks)])
        told = await self._ask("POST", "/v1/tasks", list[Scheduled], body=body)
        return [RemoteTask(self, each.task_id, each.key, each.schedule_result) for each in told]

    async def cancel(self, task_id: str) -> bool:
        """As `WorkManager.cancel`."""
        return await self._ask_one("DELETE", task_id, Cancelled) is not None

    async def cancel_by_tag(self, tag: str) -> int:
        """As `WorkManager.cancel_by_tag`."""
        return (await self._ask("DELETE", "/v1/tasks", Cancelled, _tag(tag))).cancelled

    async def cancel_all(self) -> int:
        """As `WorkManager.cancel_all`."""
        return (await self._ask("DELETE", "/v1/tasks", Cancelled, [("all", "true")])).cancelled

    async def get_task(self, task_id: str) -> TaskRecord | None:
        """As `WorkManager.get_task`."""
        return await self._ask_one("GET", task_id, TaskRecord)

    async def get_tasks_by_tag(
        self, tag: str, *, statuses: Iterable[TaskStatus] = LIVE
    ) -> list[TaskRecord]:
        """As `WorkManager.get_tasks_by_tag`."""
        return await self._tasks(statuses, _tag(tag))

    async def get_tasks_by_status(self, *statuses: TaskStatus) -> list[TaskRecord]:
        """As `WorkManager.get_tasks_by_status`."""
        return await self._tasks(statuses, [])

    async def _tasks(
        self, statuses: Iterable[TaskStatus], want: list[tuple[str, str]]
    ) -> list[TaskRecord]:
        wanted = [choice("statuses", status, TaskStatus).value for status in statuses]
        want = [*want, *(("status", status) for status in wanted), ("limit", str(PAGE))]
        page = await self._ask("GET", "/v1/tasks", Page, want)
        found = page.tasks
        while page.next is not None:
            page = await self._ask("GET", "/v1/tasks", Page, [*want, ("cursor", page.next)])
            found += page.tasks
        return found

    async def stats(self) -> Stats:
        """As `WorkManager.stats`."""
        return await self._ask("GET", "/v1/stats", Stats)

    async def events(
        self,
        *,
        after: int | None = None,
        tag: str | None = None,
        task_id: str | None = None,
        prefix: str | None = None,
        skip_pruned: bool = False,
        follow: bool = True,
    ) -> AsyncGenerator[TaskEvent]:
        """As `WorkManager.events`. A stream that breaks goes on after the last event, in time."""
        # What is passed over from the beginning is so wherever the stream goes on, too.
        log = self.log(
            after=after,
            tag=tag,
            task_id=task_id,
            prefix=prefix,
            skip_pruned=skip_pruned or after == 0,
            follow=follow,
        )
        async with aclosing(log) as events:
            async for event in events:
                yield event

    async def log(
        self,
        *,
        after: int | None,
        tag: str | None = None,
        task_id: str | None = None,
        prefix: str | None = None,
        skip_pruned: bool = False,
        follow: bool,
    ) -> AsyncGenerator[TaskEvent]:
        """As `events`; but after a break it says what was missed, even if it began at 0."""
        want = _given(tag=tag, task_id=task_id, prefix=prefix, follow=None if follow else "false")
        if skip_pruned:
            want["skip_pruned"] = "true"
        if after is None:
            after = (await self.stats()).last_event
        breaks = 0
        while True:
            try:
                where = want | {"after": str(after)}
                async with aclosing(self._stream("/v1/events", where)) as stream:
                    async for number, data in stream:
                        after, breaks = after if number is None else number, 0
                        if data is not None:
                            yield self._decoded(_EVENT, data)
                if not follow:
                    return
            except _BROKEN as error:
                breaks += 1
                self._check_again(error, breaks)
            await asyncio.sleep(RECONNECT_AFTER_S)

    async def progress(
        self, *, task_id: str | None = None, tag: str | None = None
    ) -> AsyncGenerator[TaskProgress]:
        """As `WorkManager.progress`. A stream that breaks goes on, in time."""
        want = _given(tag=tag, task_id=task_id)
        breaks = 0
        while True:
            try:
                async with aclosing(self._stream("/v1/progress", want)) as stream:
                    async for _, data in stream:
                        breaks = 0
                        if data is not None:
                            yield self._decoded(_PROGRESS, data)
            except _BROKEN as error:
                breaks += 1
                self._check_again(error, breaks)
            await asyncio.sleep(RECONNECT_AFTER_S)

    def _check_again(self, error: Exception, breaks: int) -> None:
        """Whether a stream is worth another try: a server that was never there is not."""
        if breaks > RECONNECTS_MAX or not self._was_reached:
            raise error.why if isinstance(error, _Passing) else self._unreachable(error) from error

    async def _stream(
        self, path: str, want: dict[str, str]
    ) -> AsyncGenerator[tuple[int | None, bytes | None]]:
        """The number and the data of each event. SOURCE: WHATWG HTML §9.2.6; ours are one line."""
        timeout = aiohttp.ClientTimeout(
            total=None, sock_connect=CONNECT_TIMEOUT_S, sock_read=SILENCE_MAX_S
        )
        url = self._address(path).with_query(want)
        session = self._opened()
        async with session.get(url, timeout=timeout, allow_redirects=False) as response:
            if response.status != 200:  # noqa: PLR2004 — the one that is a stream
                error = refusal(response.status, await response.read())
                raise _Passing(error) if response.status in _PASSING else error
            if response.content_type != "text/event-stream":
                raise self._stranger("that is no stream of events")
            self._was_reached = True
            number = data = None
            while line := await self._line(response.content):
                name, _, value = line.rstrip(b"\n").partition(b": ")
                if name == b"id":
                    number = int(value) if value.isdigit() else None
                elif name == b"data":
                    data = value
                elif line == b"\n":  # before that it may have been cut off
                    yield number, data
                    number = data = None

    async def _line(self, content: aiohttp.StreamReader) -> bytes:
        try:
            return await content.readline()
        except (HttpProcessingError, ValueError) as error:
            raise self._stranger("a line of its stream is too long") from error

    async def _ask_one(self, method: str, task_id: str, into: type[_Answer]) -> _Answer | None:
        """What the server answers about one task; `None` if it has none of that name."""
        if not text("task_id", task_id):
            return None
        try:
            return await self._ask(method, f"/v1/tasks/{path_of(task_id)}", into)
        except TaskNotFoundError:
            return None

    async def _ask(
        self,
        method: str,
        path: str,
        into: type[_Answer],
        want: Iterable[tuple[str, str]] = (),
        *,
        body: bytes | None = None,
    ) -> _Answer:
        headers = {} if body is None else {"Content-Type": "application/json"}
        try:
            url = self._address(path).with_query(list(want) or None)
            async with self._opened().request(
                method, url, data=body, headers=headers, allow_redirects=False
            ) as response:
                answer = await response.read()
        except _BROKEN as error:
            raise self._unreachable(error) from error
        if not response.ok:
            raise refusal(response.status, answer)
        self._was_reached = True
        return self._decoded(msgspec.json.Decoder(into), answer)

    def _decoded(self, decoder: msgspec.json.Decoder[_Answer], answer: bytes) -> _Answer:
        try:
            return decoder.decode(answer)
        except msgspec.DecodeError as error:
            raise self._stranger(str(error)) from error

    def _address(self, path: str) -> URL:
        # Encoded: else an id of dots alone, as `path_of` gives it, would mean another address.
        return self._url.with_path(self._url.raw_path.rstrip("/") + path, encoded=True)

    def _opened(self) -> aiohttp.ClientSession:
        if self._session is None:
            raise ServiceError("the client is not open: use `async with Client(...)`")
        return self._session

    def _unreachable(self, error: Exception) -> ServiceError:
        why = str(error) or type(error).__name__
        return ServiceError(f"{self._url} cannot be reached: {why}")

    def _stranger(self, why: str) -> ServiceError:
        return ServiceError(f"{self._url} is no outhaul service: {why}")


# A server that ends or begins, or a proxy before one that does, answers so.
_PASSING: Final = frozenset({502, 503, 504})


class _Passing(aiohttp.ClientError):
    """A refusal that may be another one soon."""

    def __init__(self, why: OuthaulError) -> None:
        super().__init__(str(why))
        self.why = why


def _base(url: str) -> URL:
    with contextlib.suppress(ValueError):
        base = URL(text("url", url))
        says_more = base.query_string or base.user or base.password
        if base.scheme in {"http", "https"} and base.host and not says_more:
            return base
    raise InvalidArgumentError(f"is {public_url(url)!r}: write http://HOST:PORT", argument="url")


def _given(**wanted: str | None) -> dict[str, str]:
    return {name: text(name, value) for name, value in wanted.items() if value is not None}


def _tag(tag: str) -> list[tuple[str, str]]:
    return [("tag", text("tag", tag))]
