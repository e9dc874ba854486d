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
from tests.service.kit import Service

from outhaul import EventKind, PythonWorker, Retention, Task, TaskEvent, TaskTrigger, WorkManager
from outhaul.errors import (
    InvalidArgumentError,
    InvalidTypeError,
    ServiceError,
    TaskNotFoundError,
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
    assert (await handle.result()).success
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


async def test_a_task_that_retention_has_removed_has_no_result(
    tmp_path: Path, folder: Path
) -> None:
    keep = Retention(completed_max=0, completed=None)
    store = tmp_path / "w.db"
    async with Service(store, folder) as service, Client(service.url) as client:

        @service.manager.worker("note")
        async def note(_: object, __: object) -> bool:
            return True

        (handle,) = await client.enqueue_all([Task("x", PythonWorker("note"))])
        assert (await handle.result()).success
        (last,) = await client.enqueue_all([Task("y", PythonWorker("note"))])
        assert (await last.result()).success
    async with Service(store, folder, retention=keep, port=service.port) as service:
        async with asyncio.timeout(10):
            while await service.manager.get_task("x") is not None:
                await asyncio.sleep(0.01)
        async with Client(service.url) as client:
            with pytest.raises(TaskNotFoundError, match="removed"):
                await handle._replace(client=client).result()
            assert (await last._replace(client=client).result()).success


async def test_who_waits_through_a_restart_learns_that_the_task_is_gone(
    tmp_path: Path, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("outhaul.service.patience.RECONNECT_AFTER_S", 0.1)
    monkeypatch.setattr("outhaul.service.patience.RECONNECTS_MAX", 1000)
    store = tmp_path / "w.db"

    async def note(_: object, __: object) -> bool:
        return True

    async with Service(store, folder) as service:
        client = Client(service.url)
        async with client:
            (handle,) = await client.enqueue_all([Task("x", PythonWorker("note"))])
            waiting = asyncio.ensure_future(handle.result())
            await asyncio.sleep(0.2)
            await service.__aexit__()
            # While it is away, the task ends and goes; the last one always stays.
            keep = Retention(completed_max=0, completed=None)
            async with WorkManager(store, workers={"note": note}) as manager:
                await (await manager.enqueue("y", PythonWorker("note"))).result()
                await manager.wait_idle()
            async with WorkManager(store, workers={"note": note}, retention=keep) as manager:
                async with asyncio.timeout(10):
                    while await manager.get_task("x") is not None:
                        await asyncio.sleep(0.01)
            async with Service(store, folder, port=service.port):
                with pytest.raises(TaskNotFoundError, match="removed"):
                    await asyncio.wait_for(waiting, 10)


async def test_whatever_waits_for_its_result_a_question_is_answered(client: Client) -> None:
    """More results than one client waits for at once, and far more than aiohttp's connections."""
    tasks = [Task(None, PythonWorker("nobody"), trigger=LATER) for _ in range(300)]
    handles = await client.enqueue_all(tasks)
    results = [asyncio.ensure_future(handle.result()) for handle in handles]
    await asyncio.sleep(0.5)
    async with asyncio.timeout(20):
        assert (await client.stats()).pending == 300
        assert await client.cancel_all() == 300
        kinds = {event.kind for event in await asyncio.gather(*results)}
    assert kinds == {EventKind.CANCELLED}


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
