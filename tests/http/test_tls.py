"""Only a server whose certificate holds gets the body; one that does not is no passing fault."""

from __future__ import annotations

import asyncio
import socket
import ssl
from pathlib import Path

import pytest
import trustme
from tests.http.conftest import Made
from tests.http.peers import RawServer, verdict

from outhaul import ErrorCode, EventKind, NativeWorker, WorkManager
from outhaul.errors import OuthaulError
from outhaul.testing import FlakyServer


@pytest.fixture(scope="module")
def ca() -> trustme.CA:
    return trustme.CA()


@pytest.fixture
def ca_file(ca: trustme.CA, tmp_path: Path) -> Path:
    path = tmp_path / "ca.pem"
    ca.cert_pem.write_to_path(path)
    return path


def serving(ca: trustme.CA, *names: str) -> ssl.SSLContext:
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    ca.issue_cert(*names).configure_cert(context)
    return context


async def test_a_trusted_server_gets_the_body(
    ca: trustme.CA, ca_file: Path, tmp_path: Path, make: Made
) -> None:
    tls = serving(ca, "127.0.0.1", "localhost")
    async with (
        FlakyServer(ssl_context=tls) as server,
        WorkManager(tmp_path / "work.db", ca_file=ca_file) as manager,
    ):
        for url in (server.url, server.url.replace("127.0.0.1", "localhost")):
            worker = NativeWorker.http_upload(url=url, file_path=make(3_000_000))
            event = await (await manager.enqueue(None, worker)).result()
            assert event.success, event
        assert [request.size for request in server.requests] == [3_000_000] * 2


@pytest.mark.parametrize(
    ("trusted", "names"),
    [
        pytest.param(False, ["127.0.0.1"], id="nobody we trust has signed it"),
        pytest.param(True, ["other.example"], id="it is another host's"),
    ],
)
async def test_an_untrusted_server_gets_nothing_and_is_not_tried_again(
    ca: trustme.CA, ca_file: Path, tmp_path: Path, make: Made, *, trusted: bool, names: list[str]
) -> None:
    async with (
        FlakyServer(ssl_context=serving(ca, *names)) as server,
        WorkManager(tmp_path / "work.db", ca_file=ca_file if trusted else None) as manager,
    ):
        worker = NativeWorker.http_upload(url=server.url, file_path=make())
        event = await (await manager.enqueue("x", worker)).result()
        assert (event.kind, event.attempt) == (EventKind.FAILED, 1)
        assert event.error_code is ErrorCode.TLS_ERROR
        assert "certificate" in event.message
        assert not server.requests


def refuse_one(listener: socket.socket, tls: ssl.SSLContext) -> str:
    """Says to one client why it is refused, which asyncio does not: it closes without an alert."""
    with listener:
        stream, _ = listener.accept()
    stream.settimeout(10)
    try:
        with tls.wrap_socket(stream, server_side=True) as secure:
            secure.recv(1)
    except ssl.SSLError as error:
        return str(error)
    return "nothing was refused"


async def is_final(tls: ssl.SSLContext, said: str, folder: Path, ca_file: Path, file: Path) -> None:
    """Whether an upload to a server with these terms fails in its first attempt."""
    listener = socket.create_server(("127.0.0.1", 0))
    told = asyncio.create_task(asyncio.to_thread(refuse_one, listener, tls))
    async with WorkManager(folder / "work.db", ca_file=ca_file) as manager:
        url = f"https://127.0.0.1:{listener.getsockname()[1]}/"
        worker = NativeWorker.http_upload(url=url, file_path=file)
        event = await (await manager.enqueue("x", worker)).result()
    assert said in await told
    assert (event.kind, event.attempt) == (EventKind.FAILED, 1)
    assert event.error_code is ErrorCode.TLS_ERROR


@pytest.mark.parametrize("version", [ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3])
async def test_a_server_that_wants_a_client_certificate_is_not_tried_again(
    ca: trustme.CA, ca_file: Path, tmp_path: Path, make: Made, version: ssl.TLSVersion
) -> None:
    tls = serving(ca, "127.0.0.1")
    tls.minimum_version = tls.maximum_version = version
    tls.verify_mode = ssl.CERT_REQUIRED
    await is_final(tls, "did not return a certificate", tmp_path, ca_file, make())


async def test_a_server_that_knows_none_of_our_ciphers_is_not_tried_again(
    ca: trustme.CA, ca_file: Path, tmp_path: Path, make: Made
) -> None:
    tls = serving(ca, "127.0.0.1")
    tls.maximum_version = ssl.TLSVersion.TLSv1_2
    tls.set_ciphers("AES256-SHA256")
    await is_final(tls, "no shared cipher", tmp_path, ca_file, make())


async def test_plain_text_where_tls_was_meant_is_an_error_of_tls_or_network(
    tmp_path: Path, make: Made
) -> None:
    async def speak(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.read(1)
        writer.write(b"HTTP/1.1 400 Bad Request\r\nContent-Length: 0\r\n\r\n")
        await writer.drain()

    async with RawServer(speak) as server, WorkManager(tmp_path / "work.db") as manager:
        url = server.url.replace("http:", "https:")
        worker = NativeWorker.http_upload(url=url, file_path=make())
        event = await verdict(await manager.enqueue("x", worker))
    assert event.error_code in {ErrorCode.TLS_ERROR, ErrorCode.NETWORK_ERROR}


@pytest.mark.parametrize("content", [None, b"", b"not a certificate"])
async def test_a_ca_file_that_has_no_certificate_is_refused_when_the_manager_opens(
    tmp_path: Path, content: bytes | None
) -> None:
    path = tmp_path / "ca.pem"
    if content is not None:
        path.write_bytes(content)
    with pytest.raises((OuthaulError, OSError)) as refused:
        async with WorkManager(tmp_path / "work.db", ca_file=path):
            pass
    assert "ca" in str(refused.value)
