"""What a server reads is exactly what was enqueued: bodies, names and headers (P5, C-12, F-10)."""

from __future__ import annotations

import asyncio
import hashlib
import os
from typing import Any

import pytest
from tests.http.conftest import Made
from tests.http.peers import RawServer, answer, request_of

from outhaul import NativeWorker, WorkManager
from outhaul.testing import FlakyServer


async def sent(manager: WorkManager, server: FlakyServer, **options: Any) -> None:  # noqa: ANN401 — http_upload's own
    task = await manager.enqueue(None, NativeWorker.http_upload(url=server.url, **options))
    event = await task.result()
    assert event.success, event


@pytest.mark.parametrize("size", [0, 1, 2, 511 * 1024, 512 * 1024, 512 * 1024 + 1, 3_000_001])
@pytest.mark.parametrize("body", ["multipart", "raw"])
@pytest.mark.parametrize("method", ["POST", "PUT"])
async def test_a_file_of_any_size_arrives_to_the_byte(
    manager: WorkManager, server: FlakyServer, make: Made, size: int, body: str, method: str
) -> None:
    content = os.urandom(size)
    await sent(manager, server, file_path=make(content), body=body, method=method)
    (request,) = server.requests
    assert request.complete
    assert (request.method, request.size) == (method, size)
    assert request.sha256 == hashlib.sha256(content).hexdigest()


@pytest.mark.parametrize(
    ("name", "read"),
    [
        pytest.param("photo.jpg", None, id="a plain name"),
        pytest.param("two words  twice.jpg", None, id="spaces"),
        pytest.param("grüße-naïve.jpg", None, id="umlauts"),
        pytest.param("写真 🏖.jpg", None, id="CJK and an emoji"),
        pytest.param('a"b.jpg', "a%22b.jpg", id="a quote is escaped as browsers do"),
        pytest.param("ab\\", "ab%5C", id="a trailing backslash cannot swallow the quote"),
        pytest.param("100%.jpg", None, id="a percent sign stays"),
        pytest.param("semi;colon=.jpg", None, id="semicolons and equals signs"),
    ],
)
async def test_a_file_name_arrives(
    manager: WorkManager, server: FlakyServer, make: Made, name: str, read: str | None
) -> None:
    await sent(manager, server, file_path=make(name=name))
    assert server.requests[0].filename == (read or name)
    assert "/" not in server.requests[0].filename


async def test_the_form_has_the_fields_in_order_and_then_the_file(
    manager: WorkManager, server: FlakyServer, make: Made
) -> None:
    fields = [("album", "2024"), ("tag", "a"), ("tag", "b"), ("täg", "line\nbreak"), ("empty", "")]
    await sent(
        manager,
        server,
        file_path=make(),
        file_field_name="photo",
        file_name="other.png",
        fields=fields,
    )
    (request,) = server.requests
    assert request.fields == [*fields[:3], ("täg", "line\r\nbreak"), fields[4]]
    assert (request.field_name, request.filename) == ("photo", "other.png")
    assert request.mime_type == "image/png"


async def test_a_bare_multipart_content_type_of_the_callers_is_replaced(
    manager: WorkManager, server: FlakyServer, make: Made
) -> None:
    """F-10, C-12: with it, no server could find the boundary."""
    headers = {"Content-Type": "multipart/form-data", "X-Other": "kept"}
    await sent(manager, server, file_path=make(b"hello"), headers=headers)
    (request,) = server.requests
    assert request.size == 5
    assert request.headers["Content-Type"].startswith("multipart/form-data; boundary=")
    assert request.headers["X-Other"] == "kept"


async def test_a_raw_body_has_the_callers_type_or_the_guessed_one(
    manager: WorkManager, server: FlakyServer, make: Made
) -> None:
    await sent(manager, server, file_path=make(), body="raw")
    await sent(manager, server, file_path=make(), body="raw", mime_type="image/heic")
    own = {"Content-Type": "application/x-own"}
    await sent(manager, server, file_path=make(name="a"), body="raw", headers=own)
    await sent(manager, server, file_path=make(name="b.unheard-of"), body="raw")
    assert [request.mime_type for request in server.requests] == [
        "image/jpeg",
        "image/heic",
        "application/x-own",
        "application/octet-stream",
    ]


async def test_the_head_of_a_request_is_ours_first_and_then_the_callers_in_order(
    manager: WorkManager, make: Made
) -> None:
    heads: asyncio.Queue[tuple[bytes, bytes]] = asyncio.Queue()

    async def speak(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        heads.put_nowait(await request_of(reader))
        writer.write(answer())
        await reader.read()

    headers = [("X-Zeta", "1"), ("X-Alpha", "naïve"), ("X-Zeta", "2")]
    async with RawServer(speak) as server:
        worker = NativeWorker.http_upload(
            url=f"{server.url}/a%20b?q=1#not-sent", file_path=make(b"hello"), headers=headers
        )
        assert (await (await manager.enqueue("x", worker)).result()).success
    head, body = heads.get_nowait()
    first, *lines = head.decode().rstrip().split("\r\n")
    assert first == "POST /upload/a%20b?q=1 HTTP/1.1"
    pairs = [line.split(": ", 1) for line in lines]
    names = [name.lower() for name, _ in pairs]
    assert names[:6] == [
        "host",
        "content-length",
        "user-agent",
        "accept",
        "idempotency-key",
        "content-type",
    ]
    assert sorted(names[6:]) == ["x-alpha", "x-zeta", "x-zeta"]
    assert [value for name, value in pairs if name.lower() == "x-zeta"] == ["1", "2"]
    assert ["x-alpha", "naïve"] in [[name.lower(), value] for name, value in pairs]
    assert int(dict(pairs)["content-length"]) == len(body)
    assert "transfer-encoding" not in names


async def test_the_callers_idempotency_key_and_user_agent_win(
    manager: WorkManager, server: FlakyServer, make: Made
) -> None:
    headers = {"Idempotency-Key": "mine", "User-Agent": "backup/2"}
    await sent(manager, server, file_path=make(), headers=headers)
    assert server.requests[0].idempotency_key == "mine"
    assert server.requests[0].headers["User-Agent"] == "backup/2"


async def test_what_the_server_says_is_the_result(
    manager: WorkManager, server: FlakyServer, make: Made
) -> None:
    task = await manager.enqueue(
        "x", NativeWorker.http_upload(url=server.url, file_path=make(b"hello"))
    )
    result = (await task.result()).result
    assert result is not None
    assert (result.http_status, result.body_truncated) == (200, False)
    assert result.content_type is not None
    assert result.content_type.startswith("application/json")
    assert b'"size": 5' in result.body
    assert result.bytes_sent == int(server.requests[0].headers["Content-Length"])


@pytest.mark.parametrize("kept", [64 * 1024, 64 * 1024 + 1, 5_000_000])
async def test_a_long_answer_is_cut_and_says_so(
    manager: WorkManager, make: Made, kept: int
) -> None:
    async def speak(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await request_of(reader)
        writer.write(answer(body=b"x" * kept))
        await writer.drain()
        await reader.read()

    async with RawServer(speak) as server:
        worker = NativeWorker.http_upload(url=server.url, file_path=make())
        result = (await (await manager.enqueue("x", worker)).result()).result
    assert result is not None
    assert len(result.body) == 64 * 1024
    assert result.body_truncated == (kept > 64 * 1024)
