"""`MultipartPayload` in a real aiohttp session: exact, replayable, and polite to the loop."""

from __future__ import annotations

import asyncio
import os
import ssl
import sys
import threading
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import aiohttp
import pytest
import trustme
from tests.http.conftest import Made
from tests.http.payloads import BIG, Cold, one_file, post, sha256
from tests.http.peers import RawServer, answer, head_of, request_of

from outhaul.aiohttp import FilePart, MultipartPayload, Part, TextPart, UploadProgress
from outhaul.testing import Answer, FlakyServer


@pytest.fixture
async def session() -> AsyncIterator[aiohttp.ClientSession]:
    async with aiohttp.ClientSession() as session:
        yield session


@pytest.mark.parametrize("size", [0, 1, 11_000_000])
async def test_a_file_of_any_size_arrives_as_it_is(
    session: aiohttp.ClientSession, server: FlakyServer, make: Made, size: int
) -> None:
    content = os.urandom(size)
    payload = one_file(make(content))
    assert await post(session, server.url, payload) == 200
    received = server.requests[0]
    assert (received.sha256, received.mime_type) == (sha256(content), "image/jpeg")
    assert received.headers["Content-Length"] == str(payload.size)
    assert "Transfer-Encoding" not in received.headers
    assert received.headers["Content-Type"] == payload.content_type


async def test_a_file_arrives_over_tls(
    session: aiohttp.ClientSession, tmp_path: Path, make: Made
) -> None:
    ca, content = trustme.CA(), os.urandom(11_000_000)
    serving = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    ca.issue_cert("127.0.0.1").configure_cert(serving)
    ca.cert_pem.write_to_path(tmp_path / "ca.pem")
    trusting = ssl.create_default_context(cafile=str(tmp_path / "ca.pem"))
    async with FlakyServer(ssl_context=serving) as server:
        async with session.post(server.url, data=one_file(make(content)), ssl=trusting) as response:
            assert response.status == 200
        assert server.requests[0].sha256 == sha256(content)


async def test_files_and_fields_arrive_byte_for_byte_in_their_order(
    session: aiohttp.ClientSession, make: Made
) -> None:
    data = [b"\r\n--B--\r\n" * 100_000, b"", os.urandom(600_000)]
    bodies: list[bytes] = []

    async def speak(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        bodies.append((await request_of(reader))[1])
        writer.write(answer())
        await reader.read()

    parts: list[Part] = [
        TextPart("title", "été"),
        *(FilePart("f", make(content, f"{n}.bin")) for n, content in enumerate(data)),
        ("title", "again"),
    ]
    head = 'Content-Disposition: form-data; name="{}"\r\n'
    kind = 'Content-Disposition: form-data; name="f"; filename="{}.bin"\r\nContent-Type: {}\r\n'
    expected = b"".join(
        b"--xyz\r\n" + head.encode() + b"\r\n" + content + b"\r\n"
        for head, content in [
            (head.format("title"), "été".encode()),
            *((kind.format(n, "application/octet-stream"), one) for n, one in enumerate(data)),
            (head.format("title"), b"again"),
        ]
    )
    async with RawServer(speak) as server:
        assert await post(session, server.url, MultipartPayload(parts, boundary="xyz")) == 200
    assert bodies == [expected + b"--xyz--\r\n"]


@pytest.mark.parametrize(
    ("name", "seen"),
    [
        ("naïve 日本.jpg", "naïve 日本.jpg"),
        ('a"b.jpg', "a%22b.jpg"),
        ("a\r\nX-Evil: 1.jpg", "a%0D%0AX-Evil: 1.jpg"),
        ("data:text;html.jpg", "data:text;html.jpg"),
        ("back\\", "back%5C"),
    ],
)
async def test_a_hostile_name_arrives_as_browsers_send_it(
    session: aiohttp.ClientSession, server: FlakyServer, make: Made, name: str, seen: str
) -> None:
    path = make(b"content")
    parts: list[Part] = [("note", "--\r\nfake"), FilePart("file", path, file_name=name)]
    assert await post(session, server.url, MultipartPayload(parts)) == 200
    (received,) = server.requests
    assert (received.filename, received.sha256) == (seen, sha256(b"content"))
    assert received.fields == [("note", "--\r\nfake")]


@pytest.mark.parametrize("option", ["chunked", "compress"])
async def test_it_arrives_without_a_length_where_that_is_asked_for(
    session: aiohttp.ClientSession, server: FlakyServer, make: Made, option: str
) -> None:
    content = os.urandom(2_000_000)
    told: list[UploadProgress] = []
    payload = one_file(make(content), on_progress=told.append)
    options: dict[str, Any] = {option: True}
    async with session.post(server.url, data=payload, **options) as response:
        assert response.status == 200
    assert server.requests[0].sha256 == sha256(content)
    assert [update.percent for update in told] == sorted({update.percent for update in told})


# It is addressed by offset: nothing is used up.


@pytest.mark.parametrize("early", [False, True])
async def test_a_redirect_that_keeps_the_body_gets_it_whole(
    session: aiohttp.ClientSession, make: Made, *, early: bool
) -> None:
    content = os.urandom(11_000_000)
    away = Answer(status=307, headers={"Location": "/elsewhere"}, body=b"", early=early)
    told: list[UploadProgress] = []
    async with FlakyServer(script=[away]) as server:
        assert (
            await post(session, server.url, one_file(make(content), on_progress=told.append)) == 200
        )
        first, second = server.requests
    assert (second.method, second.path, second.sha256) == ("POST", "/elsewhere", sha256(content))
    assert first.complete is not early
    percents = [update.percent for update in told]
    assert percents == sorted(set(percents))


async def test_one_payload_serves_many_requests_one_after_the_other_and_at_once(
    session: aiohttp.ClientSession, server: FlakyServer, make: Made
) -> None:
    content = os.urandom(3_000_000)
    payload = one_file(make(content))
    assert await post(session, server.url, payload) == 200
    assert await post(session, server.url, payload) == 200
    assert set(await asyncio.gather(*(post(session, server.url, payload) for _ in range(4)))) == {
        200
    }
    assert [request.sha256 for request in server.requests] == [sha256(content)] * 6


async def test_aiohttps_own_retry_sends_the_body_from_its_first_byte(
    session: aiohttp.ClientSession, make: Made
) -> None:
    bodies: list[bytes] = []

    async def speak(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        bodies.append((await request_of(reader))[1])
        writer.write(answer())
        if server.connections == 1:
            await head_of(reader)
            await reader.readexactly(700_000)
            return  # it goes away in the middle of the second body
        await reader.read()

    payload = one_file(make(os.urandom(5_000_000)))
    async with RawServer(speak) as server:
        for _ in range(2):
            async with session.put(server.url, data=payload) as response:
                assert response.status == 200
        assert server.connections == 2
    assert bodies[0] == bodies[1]
    assert len(bodies[1]) == payload.size


@pytest.mark.parametrize("method", ["POST", "PUT"])
async def test_an_early_refusal_is_the_answer(
    session: aiohttp.ClientSession, make: Made, method: str
) -> None:
    async with FlakyServer(script=[Answer(status=413, early=True)]) as server:
        payload = one_file(make(BIG))
        async with session.request(method, server.url, data=payload) as response:
            assert response.status == 413
        async with session.request(method, server.url, data=payload) as response:
            assert response.status == 200
        assert [request.complete for request in server.requests] == [False, True]


# Progress is true.


async def test_progress_rises_by_the_percent_and_ends_below_100(
    session: aiohttp.ClientSession, server: FlakyServer, make: Made
) -> None:
    told: list[UploadProgress] = []
    payload = one_file(make(120_000_000), on_progress=told.append)
    assert await post(session, server.url, payload) == 200
    percents = [update.percent for update in told]
    assert percents == sorted(set(percents))
    assert (percents[0], percents[-1]) == (0, 99)
    assert 50 < len(percents) <= 100
    for update in told:
        assert update.percent == min(99, update.bytes_sent * 100 // payload.size)
        assert update.bytes_total == payload.size
    assert told[-1].rate_bytes_per_s > 0


# The event loop stays free.


@pytest.fixture
async def sink() -> AsyncIterator[str]:
    """The address of a server in a process of its own."""
    script = Path(__file__).parents[1] / "promises" / "sink.py"
    child = await asyncio.create_subprocess_exec(
        sys.executable, str(script), stdout=asyncio.subprocess.PIPE
    )
    assert child.stdout is not None
    yield f"http://127.0.0.1:{int(await child.stdout.readline())}/"
    child.kill()
    await child.wait()


@pytest.mark.parametrize("uploads", [1, 12])
async def test_the_loop_is_never_held_for_long(
    session: aiohttp.ClientSession, sink: str, make: Made, uploads: int
) -> None:
    path = make(300_000_000 // uploads)
    await asyncio.to_thread(path.read_bytes)  # from the page cache: the fastest there is
    late_s = [0.0]

    async def tick() -> None:
        loop = asyncio.get_running_loop()
        while True:
            asked = loop.time()
            await asyncio.sleep(0.005)
            late_s.append(loop.time() - asked - 0.005)

    ticking = asyncio.create_task(tick())
    told: list[UploadProgress] = []
    sent = await asyncio.gather(
        *(post(session, sink, one_file(path, on_progress=told.append)) for _ in range(uploads))
    )
    ticking.cancel()
    assert set(sent) == {200}
    assert max(late_s) < 0.05


async def test_what_is_not_in_the_page_cache_is_read_in_a_thread(
    session: aiohttp.ClientSession,
    server: FlakyServer,
    make: Made,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    Cold.made = []
    monkeypatch.setattr("outhaul.aiohttp.MultipartEncoder", Cold)
    content = os.urandom(5_000_000)
    assert await post(session, server.url, one_file(make(content))) == 200
    assert server.requests[0].sha256 == sha256(content)
    (cold,) = Cold.made
    assert len(cold.readers) == 10
    assert threading.get_ident() not in cold.readers


@pytest.mark.parametrize("encoding", ["gzip", "identity"])
async def test_it_tells_its_progress_as_a_part_of_another_body_too(
    session: aiohttp.ClientSession, server: FlakyServer, encoding: str
) -> None:
    """The writer that compresses a part has no transport that could be asked."""
    told: list[UploadProgress] = []
    payload = MultipartPayload([("album", "2026")], on_progress=told.append)
    payload.headers["Content-Encoding"] = encoding
    around = aiohttp.MultipartWriter("mixed")
    around.append(payload)
    async with session.post(server.url, data=around) as response:
        assert response.status == 200
    assert [update.percent for update in told] == [0, 99]
