"""What users test with: the server receives exactly, fails as planned, and the network obeys."""

from __future__ import annotations

import asyncio
import hashlib
import os

import aiohttp
import pytest

from outhaul.signals import Signal
from outhaul.testing import Answer, FakeSignals, FlakyServer

FILE = os.urandom(300_000)
SHA256 = hashlib.sha256(FILE).hexdigest()


def form(filename: str = "a.bin", content: bytes = FILE) -> aiohttp.FormData:
    data = aiohttp.FormData()
    data.add_field("album", "2024")
    data.add_field("photo", content, filename=filename, content_type="image/jpeg")
    return data


async def upload(
    session: aiohttp.ClientSession, server: FlakyServer, filename: str = "a.bin", key: str = ""
) -> int | None:
    """The status, or `None` where the connection was lost."""
    headers = {"Idempotency-Key": key} if key else {}
    try:
        async with session.post(server.url, data=form(filename), headers=headers) as response:
            await response.read()
            return response.status
    except aiohttp.ClientError:
        return None


async def test_a_form_is_received_to_the_byte() -> None:
    async with FlakyServer() as server, aiohttp.ClientSession() as session:
        assert await upload(session, server, key="k1") == 200
    request = server.requests[0]
    assert (request.filename, request.field_name, request.mime_type) == (
        "a.bin",
        "photo",
        "image/jpeg",
    )
    assert (request.size, request.sha256, request.complete) == (len(FILE), SHA256, True)
    assert (request.idempotency_key, request.attempt, request.status) == ("k1", 1, 200)
    assert request.fields == [("album", "2024")]
    assert (server.files["a.bin"].sha256, server.files["a.bin"].times) == (SHA256, 1)


async def test_a_form_with_several_files_has_one_answer_and_each_file_is_kept() -> None:
    script = [Answer(status=503), Answer(status=307)]
    async with FlakyServer(script=script) as server, aiohttp.ClientSession() as session:
        for status in (503, 307, 200):
            form = aiohttp.FormData()
            form.add_field("one", b"1" * 10, filename="a.bin")
            form.add_field("two", b"2" * 5, filename="b.bin")
            async with session.post(server.url, data=form, allow_redirects=False) as response:
                assert response.status == status
    files = server.files.values()
    assert [(file.filename, file.size, file.times) for file in files] == [
        ("a.bin", 10, 1),
        ("b.bin", 5, 1),
    ]
    assert server.files["b.bin"].sha256 == hashlib.sha256(b"2" * 5).hexdigest()


async def test_a_raw_body_is_received_to_the_byte() -> None:
    async with FlakyServer() as server, aiohttp.ClientSession() as session:
        url = server.url.replace("upload", "bucket/a.bin?part=1")
        async with session.put(url, data=FILE, headers={"Content-Type": "image/png"}) as response:
            assert await response.json() == {
                "filename": "a.bin",
                "size": len(FILE),
                "sha256": SHA256,
            }
    assert server.requests[0].path == "/bucket/a.bin?part=1"
    assert server.requests[0].mime_type == "image/png"


async def test_a_script_is_followed_and_attempts_are_counted() -> None:
    script = [Answer(status=503, retry_after="2"), Answer(drop_after_bytes=1), Answer(status=201)]
    async with FlakyServer(script=script) as server, aiohttp.ClientSession() as session:
        statuses = [await upload(session, server, key="k") for _ in range(4)]
    assert statuses == [503, None, 201, 200]
    assert [request.attempt for request in server.requests] == [1, 2, 3, 4]
    assert [request.complete for request in server.requests] == [True, False, True, True]
    assert [request.dropped for request in server.requests] == [False, True, False, False]
    assert server.files["a.bin"].times == 2


async def test_a_refusal_by_size_reads_no_body() -> None:
    async with (
        FlakyServer(script=[Answer(status=413, early=True)]) as server,
        aiohttp.ClientSession() as session,
    ):
        assert await upload(session, server) in {413, None}
    assert (server.requests[0].status, server.requests[0].size) == (413, 0)
    assert server.files == {}


async def test_a_form_without_a_file_is_no_file() -> None:
    data = aiohttp.FormData(default_to_multipart=True)
    data.add_field("album", "2024")
    async with (
        FlakyServer() as server,
        aiohttp.ClientSession() as session,
        session.post(server.url, data=data),
    ):
        pass
    assert (server.requests[0].fields, server.files) == ([("album", "2024")], {})


async def test_an_answer_can_say_when_to_come_back() -> None:
    async with (
        FlakyServer(script=[Answer(status=429, retry_after="7", body=b"later")]) as server,
        aiohttp.ClientSession() as session,
        session.post(server.url, data=form()) as response,
    ):
        assert (response.status, response.headers["Retry-After"]) == (429, "7")
        assert await response.read() == b"later"


@pytest.mark.parametrize("reverse", [False, True], ids=["in order", "in reverse"])
async def test_chance_depends_on_the_file_and_not_on_who_comes_first(*, reverse: bool) -> None:
    names = sorted((f"{number}.bin" for number in range(12)), reverse=reverse)
    async with (
        FlakyServer(failure_rate=0.5, seed=4) as server,
        aiohttp.ClientSession() as session,
    ):
        failed = {name for name in names if await upload(session, server, name) != 200}
    assert failed == {f"{number}.bin" for number in (4, 5, 6, 7, 9, 10)}


async def test_a_client_that_goes_away_is_on_record() -> None:
    async with FlakyServer() as server:
        port = int(server.url.split(":")[2].partition("/")[0])
        _, writer = await asyncio.open_connection("127.0.0.1", port)
        writer.write(b"PUT /a.bin HTTP/1.1\r\nHost: x\r\nContent-Length: 100\r\n\r\nhalf")
        await writer.drain()
        writer.close()
        await writer.wait_closed()
        async with aiohttp.ClientSession() as session:
            assert await upload(session, server) == 200
    assert (server.requests[0].complete, server.requests[0].status) == (False, None)


async def test_the_network_obeys() -> None:
    told: list[int] = []
    signals = FakeSignals(network_up=False)
    signals.start(asyncio.get_running_loop(), told.append)
    await asyncio.sleep(0)
    signals.set_network(up=True)
    signals.set_network(up=True)
    signals.set_network(up=False)
    signals.close()
    signals.set_network(up=True)
    battery = Signal.BATTERY_NOT_LOW
    assert told == [battery, Signal.NETWORK | battery, battery]


async def test_a_slow_server_reads_no_faster_than_told() -> None:
    async with (
        FlakyServer(bytes_per_s=len(FILE) / 0.2) as server,
        aiohttp.ClientSession() as session,
    ):
        began = asyncio.get_running_loop().time()
        assert await upload(session, server) == 200
        assert asyncio.get_running_loop().time() - began >= 0.1


FILE_PART = (b'Content-Disposition: form-data; name="photo"; filename="a.bin"', b"the file")


def raw_form(*parts: tuple[bytes, bytes]) -> bytes:
    return b"".join(b"--b\r\n%b\r\n\r\n%b\r\n" % part for part in parts) + b"--b--\r\n"


async def sends(body: bytes, **headers: str) -> tuple[int, FlakyServer]:
    headers = {"Content-Type": "multipart/form-data; boundary=b"} | headers
    async with (
        FlakyServer() as server,
        aiohttp.ClientSession() as session,
        session.post(server.url, data=body, headers=headers) as response,
    ):
        return response.status, server


@pytest.mark.parametrize(
    ("head", "value"),
    [
        pytest.param(b"Content-Type: text/plain; charset=latin-1", "\xfc", id="Latin 1"),
        pytest.param(b"Content-Type: text/plain; charset=none", "\ufffd", id="no such charset"),
        pytest.param(b"Content-Type: text/plain", "\ufffd", id="no UTF-8"),
        pytest.param(b"Content-Transfer-Encoding: none", "\ufffd", id="no such encoding"),
    ],
)
async def test_a_field_is_read_whatever_it_says_of_itself(head: bytes, value: str) -> None:
    field = (b'Content-Disposition: form-data; name="album"\r\n' + head, b"\xfc")
    status, server = await sends(raw_form(field, FILE_PART))
    assert (status, server.requests[0].fields) == (200, [("album", value)])
    assert server.files["a.bin"].size == len(FILE_PART[1])


async def test_a_file_that_is_a_multipart_itself_is_a_file() -> None:
    content = b"--c\r\n\r\ninner\r\n--c--\r\n"
    head = FILE_PART[0] + b"\r\nContent-Type: multipart/mixed; boundary=c"
    status, server = await sends(raw_form((head, content)))
    assert (status, server.files["a.bin"].size) == (200, len(content))


async def test_a_body_that_is_not_encoded_as_it_says_is_the_client_s_mistake() -> None:
    status, server = await sends(raw_form(FILE_PART), **{"Content-Encoding": "gzip"})
    assert (status, server.requests[0].status, server.files) == (400, 400, {})
