"""How long a client waits, and how often it asks: what passes is outwaited, the dead are left."""

from __future__ import annotations

import asyncio
from contextlib import aclosing

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


async def first_two(answers: Answers) -> list[int]:
    async with (
        RawServer(answers) as server,
        Client(f"http://127.0.0.1:{server.port}") as client,
        aclosing(client.events(after=0)) as events,
        asyncio.timeout(5),
    ):
        return [(await anext(events)).seq for _ in range(2)]


@pytest.mark.parametrize(
    "status", ["502 Bad Gateway", "503 Service Unavailable", "504 Gateway Timeout"]
)
async def test_a_stream_goes_on_past_a_refusal_that_passes(status: str) -> None:
    """A proxy answers so while the service behind it begins again."""
    refusal = answer(status, b"", "Connection: close")
    assert await first_two(Answers(STREAM + block(1), refusal, STREAM + block(2))) == [1, 2]


async def test_a_stream_that_falls_silent_is_asked_for_again(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(connection, "SILENCE_MAX_S", 0.05)
    answers = Answers(STREAM + block(1), STREAM + block(2), hangs=True)
    assert await first_two(answers) == [1, 2]


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
