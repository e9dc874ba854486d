"""What the client makes of odd ids and inputs, of servers that come and go, and of strangers."""

from __future__ import annotations

import asyncio
import datetime as dt
from collections.abc import AsyncIterator
from contextlib import aclosing
from pathlib import Path
from typing import Any

import msgspec
import pytest
from tests.http.peers import RawServer, answer, head_of
from tests.service.kit import Service, ended

from outhaul import EventKind, PythonWorker, Task, TaskEvent, TaskTrigger
from outhaul.errors import (
    InvalidArgumentError,
    InvalidTypeError,
    ServiceError,
)
from outhaul.service.client import Client

LATER = TaskTrigger.one_time(3600)


@pytest.fixture
async def client(service: Service, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Client]:
    monkeypatch.setattr("outhaul.service.patience.RECONNECT_AFTER_S", 0.02)
    async with Client(service.url) as client:
        yield client


@pytest.mark.parametrize(
    "task_id", ["..", ".", "...", "%2E%2E", "a/../b", "?", "#", " ", "a;b=c", "a{b}", "{}"]
)
async def test_an_odd_id_means_the_task_of_that_name(
    service: Service, client: Client, task_id: str
) -> None:
    await service.manager.enqueue(task_id, PythonWorker("nobody"), trigger=LATER)
    record = await client.get_task(task_id)
    assert record is not None
    assert record == await service.manager.get_task(task_id)
    assert await client.cancel(task_id)
    assert not await client.cancel(task_id)


async def test_no_id_at_all_is_nobody(service: Service, client: Client) -> None:
    for works in (service.manager, client):
        assert await works.get_task("") is None
        assert not await works.cancel("")
        for wrong in (5, None):
            with pytest.raises(InvalidTypeError):
                await works.get_task(wrong)  # type: ignore[arg-type]  # the point


KEPT: list[object] = [
    None,
    True,
    0,
    -(2**63),
    2**64 - 1,
    1.0,
    1e300,
    "ä\U0001f600\0",
    [],
    {},
    {"a": [{"": [1]}]},
]


@pytest.mark.parametrize("value", KEPT, ids=repr)
async def test_an_input_arrives_as_it_is(service: Service, client: Client, value: object) -> None:
    got: list[object] = []

    @service.manager.worker("note")
    async def note(value: object, _: object) -> bool:
        got.append(value)
        return True

    (handle,) = await client.enqueue_all([Task(None, PythonWorker("note", value))])
    assert (await ended(service.manager, handle.task_id)).success
    assert got == [value]
    assert type(got[0]) is type(value)


CHANGED: list[object] = [
    b"bytes",
    [b""],
    {"a": b""},
    {1: 2},
    float("nan"),
    [float("inf")],
    dt.datetime(2026, 1, 1, tzinfo=dt.UTC),
]


@pytest.mark.parametrize("value", CHANGED, ids=repr)
async def test_an_input_that_json_would_change_is_refused(
    service: Service, client: Client, value: object
) -> None:
    good = Task(None, PythonWorker("note"))
    with pytest.raises(InvalidArgumentError, match="JSON") as refused:
        await client.enqueue_all([good, Task(None, PythonWorker("note", value))])
    assert refused.value.argument == "tasks[1].input"
    assert (await service.manager.stats()).last_event == 0


async def test_what_is_no_task_is_refused_as_at_home(service: Service, client: Client) -> None:
    for works in (service.manager, client):
        with pytest.raises(InvalidTypeError) as refused:
            await works.enqueue_all(["upload"])  # type: ignore[list-item]  # the point
        assert refused.value.argument == "tasks[0]"
        assert await works.enqueue_all([]) == []


async def test_an_address_beside_the_service_is_not_taken_for_a_task_that_is_not_there(
    service: Service,
) -> None:
    async with Client(f"{service.url}/elsewhere") as client:
        for asked in (client.get_task("x"), client.cancel("x"), client.stats()):
            with pytest.raises(ServiceError, match="nothing at this address"):
                await asked


@pytest.mark.parametrize(
    "url",
    [
        "",
        "x",
        "ftp://host",
        "http://",
        "http://host?x=1",
        "http://user:s3cret@host",
        "http://:s3cret@host",
    ],
)
def test_what_is_no_address_of_a_server_is_refused(url: str) -> None:
    with pytest.raises(InvalidArgumentError) as refused:
        Client(url)
    assert refused.value.argument == "url"
    assert "s3cret" not in str(refused.value)


async def test_a_refusal_that_does_not_pass_is_raised_in_the_end(
    tmp_path: Path, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("outhaul.service.patience.BUSY_MAX_S", 0.0)
    async with (
        Service(tmp_path / "w.db", folder, streams_max=1) as service,
        Client(service.url) as client,
        service.stream(),
    ):
        await client.stats()
        with pytest.raises(ServiceError, match="1 streams are open"):
            await anext(client.events(after=0))


async def test_whatever_is_followed_a_question_is_answered(client: Client) -> None:
    """Far more streams than aiohttp's connections to a host."""
    tasks = [Task(None, PythonWorker("nobody"), trigger=LATER) for _ in range(300)]
    await client.enqueue_all(tasks)
    seen = (await client.stats()).last_event
    streams = [client.events(after=seen) for _ in tasks]
    first = [asyncio.ensure_future(anext(stream)) for stream in streams]
    async with asyncio.timeout(20):
        assert (await client.stats()).pending == 300
        assert await client.cancel_all() == 300
        assert {event.kind for event in await asyncio.gather(*first)} == {EventKind.CANCELLED}
        await asyncio.gather(*(stream.aclose() for stream in streams))


def block(seq: int, end: str = "\n\n") -> bytes:
    event = TaskEvent(seq=seq, at_ms=0, kind=EventKind.ENQUEUED, task_id="t", key=seq)
    return b"id: %d\nevent: enqueued\ndata: %s%s" % (seq, msgspec.json.encode(event), end.encode())


async def test_an_event_that_is_cut_off_is_asked_for_again(monkeypatch: pytest.MonkeyPatch) -> None:
    """Even where the end of the connection is the end of the answer."""
    monkeypatch.setattr("outhaul.service.patience.RECONNECT_AFTER_S", 0.01)
    bodies = [block(1) + block(2, end=""), block(2, end="\n"), block(2) + b":\nid: 7\n\n", block(8)]
    asked: list[bytes] = []

    async def speak(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        asked.append((await head_of(reader)).split(b" ")[1])
        writer.write(b"HTTP/1.0 200 OK\r\nContent-Type: text/event-stream\r\n\r\n")
        writer.write(bodies[len(asked) - 1])
        await writer.drain()
        writer.close()

    async with (
        RawServer(speak) as server,
        Client(f"http://127.0.0.1:{server.port}") as client,
        aclosing(client.events(after=0)) as events,
        asyncio.timeout(5),
    ):
        assert [(await anext(events)).seq for _ in range(3)] == [1, 2, 8]
    where = b"/v1/events?skip_pruned=true&after=%d"
    assert asked == [where % number for number in (0, 1, 1, 7)]


async def refusal_by(said: bytes, what: str = "events") -> str:
    """What a client makes of a server that answers so, and is not asked twice."""

    async def speak(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await head_of(reader)
        writer.write(said)
        await writer.drain()

    async with RawServer(speak) as server, Client(f"http://127.0.0.1:{server.port}") as client:
        asked: Any = anext(client.events(after=0)) if what == "events" else client.stats()
        with pytest.raises(ServiceError) as refused:
            await asked
        assert server.connections == 1
    return refused.value.message


@pytest.mark.parametrize(
    ("kind", "body", "message"),
    [
        ("text/html", b"data: {}\n\n", "no stream of events"),
        ("text/event-stream", b"data: {}\n\n", "no outhaul service"),
        ("text/event-stream", b"data: hello\n\n", "no outhaul service"),
        ("text/event-stream", b"data: " + b"x" * 2_000_000, "too long"),
    ],
    ids=["a page", "no event", "no JSON", "without an end"],
)
async def test_a_stream_of_a_stranger_is_called_so(kind: str, body: bytes, message: str) -> None:
    assert message in await refusal_by(answer("200 OK", body, f"Content-Type: {kind}"))


@pytest.mark.parametrize("what", ["events", "stats"])
async def test_nobody_is_sent_elsewhere_with_a_token(what: str) -> None:
    moved = answer("307 Temporary Redirect", b"", "Location: http://127.0.0.1:1/")
    assert "outhaul service" in await refusal_by(moved, what)
