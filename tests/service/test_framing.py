"""Where a request ends is never in doubt: else one could be smuggled in after another's."""

from __future__ import annotations

import asyncio
from contextlib import closing

import pytest
from tests.service.kit import Service

HEAD = b"POST /v1/tasks HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\n"
NEXT = b"GET /v1/stats HTTP/1.1\r\nHost: x\r\n\r\n"


@pytest.fixture(autouse=True)
def impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    """Of a body that breaks after its head aiohttp tells nobody: the time-out ends the wait."""
    monkeypatch.setattr("outhaul.service.handlers.BODY_TIMEOUT_S", 0.2)


async def answers(service: Service, *sent: bytes) -> bytes:
    """What comes back on one connection until the service closes it."""
    reader, writer = await asyncio.open_connection("127.0.0.1", service.port)
    with closing(writer):
        for each in sent:
            writer.write(each)
            await writer.drain()
            await asyncio.sleep(0.02)  # so that each arrives by itself
        async with asyncio.timeout(5):
            return await reader.read()


@pytest.mark.parametrize(
    ("head", "body"),
    [
        (b"Content-Length: 2\r\nTransfer-Encoding: chunked", b"2\r\n[]\r\n0\r\n\r\n"),
        (b"Transfer-Encoding: chunked\r\nContent-Length: 2", b"2\r\n[]\r\n0\r\n\r\n"),
        (b"Content-Length: 2\r\nContent-Length: 3", b"[]"),
        (b"Content-Length : 2", b"[]"),
        (b"Content-Length: +2", b"[]"),
        (b"Content-Length: 0x2", b"[]"),
        (b"Content-Length: 2, 2", b"[]"),
        (b"Transfer-Encoding: xchunked", b"[]"),
        (b"Transfer-Encoding: chunked, identity", b"2\r\n[]\r\n0\r\n\r\n"),
        (b"Transfer-Encoding:\x0bchunked", b"2\r\n[]\r\n0\r\n\r\n"),
        (b" Transfer-Encoding: chunked", b"2\r\n[]\r\n0\r\n\r\n"),
        (b"Transfer-Encoding: chunked", b"zz\r\n"),
        (b"Transfer-Encoding: chunked", b"1\r\n[\r\nzz\r\n"),
        (b"Transfer-Encoding: chunked", b"2\n[]\n0\n\n"),
    ],
    ids=repr,
)
@pytest.mark.parametrize("at_once", [True, False], ids=["at once", "head first"])
async def test_a_body_whose_end_is_in_doubt_is_refused_and_what_follows_is_not_read(
    service: Service, head: bytes, body: bytes, *, at_once: bool
) -> None:
    parts = (HEAD + head + b"\r\n\r\n", body + NEXT)
    said = await answers(service, *((b"".join(parts),) if at_once else parts))
    assert said.split(b" ")[1] in {b"400", b"408"}, said
    assert b"last_event" not in said
    assert (await service.manager.stats()).last_event == 0


async def test_a_body_that_is_not_encoded_as_it_says_is_refused(service: Service) -> None:
    for encoding in (b"deflate", b"gzip"):
        length = b"Content-Encoding: %s\r\nContent-Length: 4\r\n\r\n" % encoding
        for parts in ((HEAD + length + b"[][]" + NEXT,), (HEAD + length, b"[][]" + NEXT)):
            said = await answers(service, *parts)
            assert said.split(b" ")[1] in {b"400", b"408"}, said
            assert b"last_event" not in said


async def test_what_a_request_has_beyond_its_own_end_is_the_next_one(service: Service) -> None:
    body = b"GET /v1/tags HTTP/1.1\r\nHost: x\r\nContent-Length: 2\r\n\r\n[]"
    said = await answers(service, body + NEXT[:-2] + b"Connection: close\r\n\r\n")
    assert said.count(b"HTTP/1.1 200 OK") == 2
    assert said.count(b"last_event") == 1
