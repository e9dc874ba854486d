"""How long a client waits, and how often it asks: what passes is outwaited, the dead are left."""

from __future__ import annotations

import asyncio
from contextlib import aclosing

import msgspec
import pytest
from tests.http.peers import RawServer, answer, head_of
from tests.service.test_client_troubles import block

from outhaul.errors import ServiceError
from outhaul.service import connection, patience
from outhaul.service.client import Client

STREAM = b"HTTP/1.0 200 OK\r\nContent-Type: text/event-stream\r\n\r\n"


@pytest.fixture(autouse=True)
def hurry(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(patience, "RECONNECT_AFTER_S", 0.01)


class Answers:
    """A server that says one thing to each who comes.

    Attributes:
        left: What it has not said yet.
    """

    def __init__(self, *said: bytes, hangs: bool = False) -> None:
        self.left = list(said)
        self._hangs = hangs

    async def __call__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await head_of(reader)
        if self.left:
            writer.write(self.left.pop(0))
            await writer.drain()
        if self._hangs:
            await reader.read()  # until the client goes
        writer.close()


async def first(number: int, answers: Answers) -> list[int]:
    """The first so many events that a client makes of it."""
    async with (
        RawServer(answers) as server,
        Client(f"http://127.0.0.1:{server.port}") as client,
        aclosing(client.events(after=0)) as events,
        asyncio.timeout(5),
    ):
        return [(await anext(events)).seq for _ in range(number)]


@pytest.mark.parametrize(
    "status", ["502 Bad Gateway", "503 Service Unavailable", "504 Gateway Timeout"]
)
async def test_a_stream_goes_on_past_a_refusal_that_passes(status: str) -> None:
    """A proxy answers so while the service behind it begins again."""
    refusal = answer(status, b"", "Connection: close")
    assert await first(2, Answers(STREAM + block(1), refusal, STREAM + block(2))) == [1, 2]


async def test_a_stream_that_falls_silent_is_asked_for_again(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(connection, "SILENCE_MAX_S", 0.05)
    answers = Answers(STREAM + block(1), STREAM + block(2), hangs=True)
    assert await first(2, answers) == [1, 2]


async def test_an_answer_that_does_not_come_is_an_error(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(connection, "ANSWER_TIMEOUT_S", 0.05)
    async with (
        RawServer(Answers(hangs=True)) as server,
        Client(f"http://127.0.0.1:{server.port}") as client,
    ):
        with pytest.raises(ServiceError, match="cannot be reached"):
            await asyncio.wait_for(client.stats(), 5)
        assert server.connections == 1


async def test_a_server_that_was_never_there_is_asked_once(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(patience, "RECONNECT_AFTER_S", 3600)
    async with Client("http://127.0.0.1:1") as nowhere:
        with pytest.raises(ServiceError, match="cannot be reached"):
            await asyncio.wait_for(anext(nowhere.events(after=0)), 5)


async def test_what_never_passes_is_raised_in_the_end(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(patience, "RECONNECTS_MAX", 3)
    refusal = answer("503 Service Unavailable", b"", "Connection: close")
    async with (
        RawServer(Answers(STREAM + block(1), *[refusal] * 10)) as server,
        Client(f"http://127.0.0.1:{server.port}") as client,
        aclosing(client.events(after=0)) as events,
    ):
        assert (await anext(events)).seq == 1
        with pytest.raises(ServiceError):
            await asyncio.wait_for(anext(events), 5)
        assert server.connections == 1 + 1 + 3  # the stream, the first try, those after it


async def test_however_often_a_stream_breaks_that_says_something_it_goes_on(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(patience, "RECONNECTS_MAX", 1)
    head = b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nContent-Length: 100000\r\n\r\n"
    assert await first(5, Answers(*[head + block(seq) for seq in range(1, 6)])) == [1, 2, 3, 4, 5]


async def test_a_stream_that_ends_without_a_word_was_there(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(patience, "RECONNECTS_MAX", 1)
    refusal = answer("502 Bad Gateway", b"", "Connection: close")
    assert await first(1, Answers(*[STREAM, refusal] * 3, STREAM + block(1))) == [1]


def busy(retry_after: str) -> bytes:
    problem = {"title": "", "status": 503, "detail": "1000 streams", "code": "TOO_MANY_STREAMS"}
    body = msgspec.json.encode(problem)
    return answer(
        "503 Service Unavailable", body, f"Retry-After: {retry_after}", "Connection: close"
    )


@pytest.mark.parametrize(
    "retry_after", ["0", "Wed, 02 Dec 2026 07:28:00 GMT", "soon", ""], ids=repr
)
async def test_a_busy_server_is_asked_again_whatever_it_says_about_when(retry_after: str) -> None:
    assert await first(2, Answers(STREAM + block(1), busy(retry_after), STREAM + block(2))) == [
        1,
        2,
    ]


async def test_a_server_that_is_busy_for_longer_than_anybody_waits_is_not_waited_for(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(patience, "BUSY_MAX_S", 60)
    with pytest.raises(ServiceError, match="1000 streams"):
        await first(2, Answers(STREAM + block(1), busy("61"), STREAM + block(2)))


async def test_between_two_tries_there_is_a_pause(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(patience, "RECONNECT_AFTER_S", 3600)
    tries = patience.Patience()
    passing = patience.PassingError(ServiceError("away"), busy_s=None)
    waits = [asyncio.ensure_future(wait) for wait in (tries.wait(passing), tries.pause())]
    for _ in range(10):
        await asyncio.sleep(0)
    assert not any(wait.done() for wait in waits)
    for wait in waits:
        wait.cancel()
