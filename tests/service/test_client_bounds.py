"""What a client does that is too much for one request, or for a server that is busy or away."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path

import msgspec
import pytest
from tests.http.peers import RawServer, answer, head_of
from tests.service.kit import Service

from outhaul import EventKind, NativeWorker, PythonWorker, Stats, Task, TaskEvent, TaskTrigger
from outhaul.errors import InvalidArgumentError, ServiceError, SourceNotFoundError
from outhaul.service.client import Client
from outhaul.service.patience import RECONNECTS_MAX
from outhaul.service.specs import BODY_BYTES_MAX, TASKS_MAX
from outhaul.service.translate import bodies

LATER = TaskTrigger.one_time(3600)


@pytest.fixture
async def client(service: Service) -> AsyncIterator[Client]:
    async with Client(service.url) as client:
        yield client


def task(name: str, value: object = None) -> Task:
    return Task(name, PythonWorker("nobody", value), trigger=LATER)


@pytest.mark.parametrize(
    ("count", "value", "requests"),
    [
        pytest.param(0, None, 0, id="nothing"),
        pytest.param(1, "\0" * 1_000_000, 1, id="one that is too large goes alone"),
        pytest.param(40, "x" * (BODY_BYTES_MAX // 10), 5, id="many bytes"),
        pytest.param(TASKS_MAX + 1, None, 2, id="many tasks"),
    ],
)
def test_no_request_has_more_than_the_service_takes(
    count: int, value: object, requests: int
) -> None:
    sent = list(bodies(task(str(number), value) for number in range(count)))
    ids = [[each["task_id"] for each in msgspec.json.decode(body)] for _, body in sent]
    assert [int(some[0]) for some in ids] == [first for first, _ in sent]
    assert [name for some in ids for name in some] == [str(number) for number in range(count)]
    assert len(sent) == requests
    assert all(len(some) <= TASKS_MAX for some in ids)
    assert all(len(body) <= BODY_BYTES_MAX for _, body in sent if count > 1)


async def test_a_body_that_is_exactly_full_is_taken(service: Service, client: Client) -> None:
    ((_, empty),) = bodies([task(name, "") for name in "abc"])
    third, rest = divmod(BODY_BYTES_MAX - len(empty), 3)
    tasks = [task("a", "x" * third), task("b", "x" * third), task("c", "x" * (third + rest))]
    ((_, full),) = bodies(tasks)
    assert len(full) == BODY_BYTES_MAX
    assert len(list(bodies([*tasks[:2], task("c", "x" * (third + rest + 1))]))) == 2
    assert len(await client.enqueue_all(tasks)) == 3
    assert (await service.manager.stats()).pending == 3


async def test_what_goes_in_several_requests_is_told_as_one(
    service: Service, client: Client, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("outhaul.service.translate.TASKS_MAX", 2)
    names = [str(number) for number in range(5)]
    handles = await client.enqueue_all([task(name) for name in names])
    assert [handle.task_id for handle in handles] == names
    assert (await service.manager.stats()).pending == 5
    missing = NativeWorker.http_upload(url="https://x/", file_path=service.root / "none")
    with pytest.raises(SourceNotFoundError) as refused:
        await client.enqueue_all([*map(task, names), Task("x", missing)])
    assert refused.value.argument == "tasks[5].file_path"


def block(seq: int) -> bytes:
    event = TaskEvent(seq=seq, at_ms=0, kind=EventKind.ENQUEUED, task_id="t", key=seq)
    return b"id: %d\nevent: enqueued\ndata: %s\n\n" % (seq, msgspec.json.encode(event))


STATS = answer("200 OK", msgspec.json.encode(Stats()), "Connection: close")
STREAM = answer("200 OK", block(1), "Content-Type: text/event-stream", "Connection: close")
BUSY = answer(
    "503 Service Unavailable",
    b'{"title": "", "status": 503, "detail": "1000 streams", "code": "TOO_MANY_STREAMS"}',
    "Retry-After: 0",
    "Connection: close",
)
ENDS = answer("503 Service Unavailable", b"", "Connection: close")
CUT = b""


class Script(RawServer):
    """Gives one answer after the other, and closes the connection with each."""

    def __init__(self, *answers: bytes) -> None:
        self.asked: list[bytes] = []
        self._answers = answers
        super().__init__(self._speak_next)

    async def _speak_next(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.asked.append((await head_of(reader)).partition(b" HTTP")[0])
        writer.write(self._answers[len(self.asked) - 1])
        await writer.drain()
        writer.close()

    @property
    def address(self) -> str:
        return f"http://127.0.0.1:{self.port}"


@pytest.fixture
def hurry(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("outhaul.service.patience.RECONNECT_AFTER_S", 0.001)


@pytest.mark.usefixtures("hurry")
async def test_a_server_that_is_busy_is_waited_for_longer_than_one_that_breaks() -> None:
    waits = 3 * RECONNECTS_MAX
    async with (
        Script(STATS, *[BUSY] * waits, STREAM) as server,
        Client(server.address) as client,
    ):
        assert (await anext(client.events())).seq == 1
        assert len(server.asked) == waits + 2


@pytest.mark.usefixtures("hurry")
async def test_a_busy_server_is_not_waited_for_without_end(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("outhaul.service.patience.BUSY_MAX_S", 0.005)
    async with Script(STATS, *[BUSY] * 10) as server, Client(server.address) as client:
        with pytest.raises(ServiceError, match="1000 streams"):
            await anext(client.events())
        assert len(server.asked) == 7


@pytest.mark.usefixtures("hurry")
async def test_a_question_is_asked_again_where_the_server_is_away_for_a_moment() -> None:
    async with Script(STATS, CUT, ENDS, CUT, STATS) as server, Client(server.address) as client:
        await client.stats()
        assert await client.stats() == Stats()
        assert len(server.asked) == 5


@pytest.mark.usefixtures("hurry")
async def test_work_is_given_once_where_it_is_not_known_whether_it_was_taken() -> None:
    async with Script(STATS, CUT, STATS) as server, Client(server.address) as client:
        await client.stats()
        with pytest.raises(ServiceError, match="cannot be reached"):
            await client.enqueue_all([task("x")])
        assert server.asked == [b"GET /v1/stats", b"POST /v1/tasks"]


@pytest.mark.parametrize(
    ("url", "is_refused"),
    [
        ("http://example.com:8420", True),
        ("http://10.0.0.5", True),
        ("http://localhost.example.com", True),
        ("http://127.0.0.1:8420", False),
        ("http://127.0.0.2", False),
        ("http://[::1]:8420", False),
        ("http://LOCALHOST", False),
        ("https://example.com", False),
    ],
)
def test_a_token_goes_in_plain_text_to_this_host_only(url: str, *, is_refused: bool) -> None:
    Client(url)
    if is_refused:
        with pytest.raises(InvalidArgumentError, match="https://") as refused:
            Client(url, token="s3cret")
        assert refused.value.argument == "url"
        assert "s3cret" not in str(refused.value)
    else:
        Client(url, token="s3cret")


async def test_a_name_that_no_request_can_carry_is_refused_in_our_own_words(
    client: Client, folder: Path
) -> None:
    assert folder.exists()
    for asked in (
        client.get_task("x" * 9000),
        client.cancel("ä" * 3000),
        client.get_tasks_by_tag("x" * 9000),
        anext(client.events(after=0, prefix="x" * 9000)),
    ):
        with pytest.raises(InvalidArgumentError, match="too long"):
            await asked
    assert await client.get_task("x" * 7000) is None
