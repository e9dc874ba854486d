"""The other side of the service: the verbs of a `WorkManager`, asked of a server."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any, Final, NamedTuple, Self, TypeVar
from urllib.parse import quote

import aiohttp
import msgspec

from outhaul.errors import AccessDeniedError, ServiceError, TaskNotFoundError, from_core
from outhaul.model import ScheduleResult, Stats, TaskEvent, TaskProgress, TaskRecord, TaskStatus
from outhaul.queries import PAGE
from outhaul.reads import LIVE
from outhaul.service.problems import Problem
from outhaul.service.specs import Cancelled, NewTask, Page, PythonTask, Scheduled
from outhaul.wire import PythonSpec

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Iterable
    from types import TracebackType

    from outhaul.tasks import Task

# For an answer, not for a stream: those last.
ANSWER_TIMEOUT_S: Final = 60.0
CONNECT_TIMEOUT_S: Final = 10.0

# A stream that says nothing for so long is dead: the server sends a heartbeat more often.
SILENCE_MAX_S: Final = 60.0

# A broken stream is taken up again, unless so many tries in a row come to nothing.
RECONNECTS_MAX: Final = 10
RECONNECT_AFTER_S: Final = 1.0

# One line of a stream holds an event, with at most 64 KiB of an answer in base64.
_BUFFER_BYTES: Final = 256 * 1024

_Answer = TypeVar("_Answer")
_ENCODER: Final = msgspec.json.Encoder()


class RemoteTask(NamedTuple):
    """A hold on a task that a server has."""

    client: Client
    task_id: str
    key: int
    schedule_result: ScheduleResult

    async def result(self) -> TaskEvent:
        """Waits until the task has ended: the event that says how."""
        async for event in self.client.events(after=0, task_id=self.task_id):
            if event.key == self.key and event.is_terminal:
                return event
        raise ServiceError("the stream of events has ended before the task has")


class Client:
    """Asks a server what a `WorkManager` is asked in its own process. Paths are the server's."""

    def __init__(self, url: str, *, token: str | None = None) -> None:
        """Connects to nothing yet.

        Args:
            url: Where the service is, as in `http://127.0.0.1:8420`.
            token: What it wants to see.
        """
        self._url = url.rstrip("/")
        self._headers = {} if token is None else {"Authorization": f"Bearer {token}"}
        self._session: aiohttp.ClientSession | None = None

    async def __aenter__(self) -> Self:
        timeout = aiohttp.ClientTimeout(
            total=None, sock_connect=CONNECT_TIMEOUT_S, sock_read=ANSWER_TIMEOUT_S
        )
        self._session = aiohttp.ClientSession(
            headers=self._headers, timeout=timeout, read_bufsize=_BUFFER_BYTES
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
        body = _ENCODER.encode([_as_json(task) for task in tasks])
        told = await self._ask("POST", "/v1/tasks", list[Scheduled], body=body)
        return [RemoteTask(self, each.task_id, each.key, each.schedule_result) for each in told]

    async def cancel(self, task_id: str) -> bool:
        """As `WorkManager.cancel`."""
        try:
            await self._ask("DELETE", _address(task_id), Cancelled)
        except TaskNotFoundError:
            return False
        return True

    async def cancel_by_tag(self, tag: str) -> int:
        """As `WorkManager.cancel_by_tag`."""
        return (await self._ask("DELETE", "/v1/tasks", Cancelled, {"tag": tag})).cancelled

    async def cancel_all(self) -> int:
        """As `WorkManager.cancel_all`."""
        return (await self._ask("DELETE", "/v1/tasks", Cancelled, {"all": "true"})).cancelled

    async def get_task(self, task_id: str) -> TaskRecord | None:
        """As `WorkManager.get_task`."""
        try:
            return await self._ask("GET", _address(task_id), TaskRecord)
        except TaskNotFoundError:
            return None

    async def get_tasks_by_tag(
        self, tag: str, *, statuses: Iterable[TaskStatus] = LIVE
    ) -> list[TaskRecord]:
        """As `WorkManager.get_tasks_by_tag`."""
        return await self._tasks(statuses, [("tag", tag)])

    async def get_tasks_by_status(self, *statuses: TaskStatus) -> list[TaskRecord]:
        """As `WorkManager.get_tasks_by_status`."""
        return await self._tasks(statuses, [])

    async def _tasks(
        self, statuses: Iterable[TaskStatus], want: list[tuple[str, str]]
    ) -> list[TaskRecord]:
        want = [*want, *(("status", status.value) for status in statuses), ("limit", str(PAGE))]
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
        follow: bool = True,
    ) -> AsyncIterator[TaskEvent]:
        """As `WorkManager.events`. A stream that breaks goes on after the last event, in time."""
        if after is None:
            after = (await self.stats()).last_event
        wanted = {"tag": tag, "task_id": task_id, "prefix": prefix}
        want = {name: value for name, value in wanted.items() if value is not None}
        decoder = msgspec.json.Decoder(TaskEvent)
        breaks = 0
        while True:
            where = {**want, "after": str(after), "follow": str(follow).lower()}
            try:
                async for data in self._stream("/v1/events", where):
                    event = decoder.decode(data)
                    after, breaks = event.seq, 0
                    yield event
                if not follow:
                    return
            except (aiohttp.ClientError, TimeoutError) as error:
                breaks += 1
                if breaks > RECONNECTS_MAX:
                    raise self._unreachable(error) from error
            await asyncio.sleep(RECONNECT_AFTER_S)

    async def progress(
        self, *, task_id: str | None = None, tag: str | None = None
    ) -> AsyncIterator[TaskProgress]:
        """As `WorkManager.progress`, until the server ends it."""
        wanted = {"tag": tag, "task_id": task_id}
        want = {name: value for name, value in wanted.items() if value is not None}
        decoder = msgspec.json.Decoder(TaskProgress)
        try:
            async for data in self._stream("/v1/progress", want):
                yield decoder.decode(data)
        except (aiohttp.ClientError, TimeoutError) as error:
            raise self._unreachable(error) from error

    async def _stream(self, path: str, want: dict[str, str]) -> AsyncIterator[bytes]:
        """The data of each event. SOURCE: WHATWG HTML §9.2.6; ours have one line of data."""
        timeout = aiohttp.ClientTimeout(
            total=None, sock_connect=CONNECT_TIMEOUT_S, sock_read=SILENCE_MAX_S
        )
        async with self._opened().get(self._url + path, params=want, timeout=timeout) as response:
            if response.status != 200:  # noqa: PLR2004 — the one that is a stream
                raise _refusal(response.status, await response.read())
            async for line in response.content:
                if line.startswith(b"data: "):
                    yield line[6:]

    async def _ask(
        self,
        method: str,
        path: str,
        into: type[_Answer],
        want: Any = None,  # noqa: ANN401 — aiohttp's own
        *,
        body: bytes | None = None,
    ) -> _Answer:
        headers = {} if body is None else {"Content-Type": "application/json"}
        try:
            async with self._opened().request(
                method, self._url + path, params=want, data=body, headers=headers
            ) as response:
                answer = await response.read()
        except (aiohttp.ClientError, TimeoutError, ValueError) as error:
            raise self._unreachable(error) from error
        if not response.ok:
            raise _refusal(response.status, answer)
        try:
            return msgspec.json.decode(answer, type=into)
        except msgspec.DecodeError as error:
            raise ServiceError(f"{self._url} is no outhaul service: {error}") from error

    def _opened(self) -> aiohttp.ClientSession:
        if self._session is None:
            raise ServiceError("the client is not open: use `async with Client(...)`")
        return self._session

    def _unreachable(self, error: Exception) -> ServiceError:
        why = str(error) or type(error).__name__
        return ServiceError(f"{self._url} cannot be reached: {why}")


def _address(task_id: str) -> str:
    return f"/v1/tasks/{quote(task_id, safe='')}"


def _as_json(task: Task) -> NewTask:
    spec = task.wire
    said = {name: getattr(spec, name) for name in spec.__struct_fields__}
    if isinstance(spec.worker, PythonSpec):
        value = msgspec.msgpack.decode(spec.worker.input)
        said["worker"] = PythonTask(callback_id=spec.worker.callback_id, input=value)
    return NewTask(**said)


def _refusal(status: int, answer: bytes) -> Exception:
    """The error that the server raised, raised here."""
    try:
        problem = msgspec.json.decode(answer, type=Problem)
    except msgspec.DecodeError:
        return ServiceError(f"the server answers HTTP {status}, and not as an outhaul service")
    if status == 401:  # noqa: PLR2004 — the status for it
        return AccessDeniedError(problem.detail)
    return from_core(problem.code, problem.field or "", problem.detail)
