"""Servers that misbehave: each ends in a typed outcome, in bounded time (S-150, S-156, S-301)."""

from __future__ import annotations

import asyncio
import socket
from typing import Any

import pytest
from tests.http.conftest import Made
from tests.http.peers import RawServer, Speak, answer, head_of, request_of, verdict

from outhaul import Constraints, ErrorCode, EventKind, NativeWorker, TaskEvent, WorkManager
from outhaul.testing import Answer, FakeClock, FlakyServer

BIG = 32 * 1024 * 1024


async def attempt_against(
    speak: Speak,
    manager: WorkManager,
    make: Made,
    *,
    size: int = 5,
    **timeouts: Any,  # noqa: ANN401 — http_upload's own
) -> tuple[TaskEvent, RawServer]:
    async with RawServer(speak) as server:
        worker = NativeWorker.http_upload(url=server.url, file_path=make(size), **timeouts)
        return await verdict(await manager.enqueue("x", worker)), server


def is_retried(event: TaskEvent, code: ErrorCode) -> bool:
    assert event.message
    return (event.kind, event.error_code) == (EventKind.RETRY_SCHEDULED, code)


@pytest.mark.parametrize("end", ["fin", "rst"])
@pytest.mark.parametrize("lead", ["at once", "after some of the body"])
async def test_an_early_refusal_is_heard_although_the_body_is_cut_off(
    manager: WorkManager, make: Made, end: str, lead: str
) -> None:
    """The server closes with unread data, so the kernel resets the connection under our writes."""

    async def speak(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await head_of(reader)
        if lead != "at once":
            await reader.readexactly(300_000)
        writer.write(answer("413 Content Too Large", b"", "Connection: close"))
        await writer.drain()
        if end == "fin":
            writer.write_eof()
            await asyncio.sleep(0.05)  # a server that lingers, as nginx does

    event, _ = await attempt_against(speak, manager, make, size=BIG)
    assert event.kind is EventKind.FAILED
    assert (event.http_status, event.error_code) == (413, ErrorCode.HTTP_CLIENT_ERROR)


async def test_an_early_refusal_stops_the_body(manager: WorkManager, make: Made) -> None:
    got = 0

    async def speak(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        nonlocal got
        await head_of(reader)
        writer.write(answer("401 Unauthorized"))
        while chunk := await reader.read(65536):
            got += len(chunk)

    event, _ = await attempt_against(speak, manager, make, size=4 * BIG)
    assert (event.kind, event.http_status) == (EventKind.FAILED, 401)
    assert got < 2 * BIG


@pytest.mark.parametrize(
    "said",
    [
        pytest.param(b"", id="nothing"),
        pytest.param(b"HTTP/1.1 200 OK\r\nContent-Le", id="half a head"),
        pytest.param(b"HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\nhalf", id="half a body"),
        pytest.param(
            b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhel", id="half a chunk"
        ),
        pytest.param(b"SSH-2.0-OpenSSH_9.2\r\n\r\n", id="another protocol"),
        pytest.param(b"HTTP/1.1 200 OK\r\nContent-Length: x\r\n\r\n", id="no length"),
        pytest.param(b"HTTP/1.1 200 OK\r\nX: " + b"a" * 1_000_000, id="an endless head"),
    ],
)
async def test_an_answer_that_is_none_is_never_a_success(
    manager: WorkManager, make: Made, said: bytes
) -> None:
    async def speak(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await request_of(reader)
        writer.write(said)
        await writer.drain()
        writer.write_eof()
        await reader.read()

    event, _ = await attempt_against(speak, manager, make)
    assert is_retried(event, ErrorCode.NETWORK_ERROR)


async def test_a_connection_that_is_closed_at_once_is_retried(
    manager: WorkManager, make: Made, clock: FakeClock
) -> None:
    async def speak(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        if server.connections > 1:
            await request_of(reader)
            writer.write(answer())
            await reader.read()

    async with RawServer(speak) as server:
        worker = NativeWorker.http_upload(url=server.url, file_path=make())
        task = await manager.enqueue("x", worker)
        assert is_retried(await verdict(task), ErrorCode.NETWORK_ERROR)
        assert server.connections == 1
        clock.advance(33)
        assert (await task.result()).success


async def test_nobody_listening_is_retried(manager: WorkManager, make: Made) -> None:
    """C-20: offline, without a constraint."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        url = f"http://127.0.0.1:{probe.getsockname()[1]}/"
        worker = NativeWorker.http_upload(url=url, file_path=make())
        event = await verdict(await manager.enqueue("x", worker))
    assert is_retried(event, ErrorCode.NETWORK_ERROR)
    assert "refused" in event.message


async def test_a_server_that_never_answers_is_a_timeout(manager: WorkManager, make: Made) -> None:
    async def speak(reader: asyncio.StreamReader, _: asyncio.StreamWriter) -> None:
        await request_of(reader)
        await reader.read()

    event, _ = await attempt_against(speak, manager, make, response_timeout=0.2)
    assert is_retried(event, ErrorCode.TIMEOUT)
    assert "timeout" in event.message


async def test_an_answer_that_trickles_is_a_timeout_too(manager: WorkManager, make: Made) -> None:
    async def speak(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await request_of(reader)
        writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: 1000\r\n\r\n")
        while True:
            writer.write(b".")
            await writer.drain()
            await asyncio.sleep(0.05)

    event, _ = await attempt_against(speak, manager, make, response_timeout=0.3)
    assert is_retried(event, ErrorCode.TIMEOUT)


async def test_a_server_that_stops_reading_is_a_timeout(manager: WorkManager, make: Made) -> None:
    async def speak(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await head_of(reader)
        writer.transport.pause_reading()  # type: ignore[attr-defined]  # a socket's has it
        await asyncio.Event().wait()

    event, _ = await attempt_against(speak, manager, make, size=BIG, stall_timeout=0.3)
    assert is_retried(event, ErrorCode.TIMEOUT)
    assert "timeout" in event.message


async def test_a_slow_reader_is_no_stall(manager: WorkManager, make: Made) -> None:
    async def speak(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await head_of(reader)
        left = BIG
        while left > 0:
            left -= len(await reader.read(4 * 1024 * 1024))
            await asyncio.sleep(0.01)
        writer.write(answer())
        await reader.read()

    event, _ = await attempt_against(speak, manager, make, size=BIG, stall_timeout=0.5)
    assert event.success


async def test_a_host_without_an_address_is_retried_and_says_so(
    manager: WorkManager, make: Made
) -> None:
    """S-153. `.invalid` never resolves (RFC 6761)."""
    url = "https://nowhere.invalid/upload"
    worker = NativeWorker.http_upload(url=url, file_path=make())
    event = await verdict(
        await manager.enqueue("x", worker, constraints=Constraints(requires_network=False))
    )
    assert is_retried(event, ErrorCode.NETWORK_ERROR)
    assert "nowhere.invalid" in event.message


@pytest.mark.parametrize("drop", [1, 1_000_000])
async def test_a_connection_lost_in_the_middle_is_retried_from_the_start(
    manager: WorkManager, make: Made, clock: FakeClock, drop: int
) -> None:
    async with FlakyServer(script=[Answer(drop_after_bytes=drop)]) as server:
        worker = NativeWorker.http_upload(url=server.url, file_path=make(8_000_000))
        task = await manager.enqueue("x", worker)
        assert is_retried(await verdict(task), ErrorCode.NETWORK_ERROR)
        clock.advance(33)
        assert (await task.result()).success
        first, second = server.requests
    assert not first.complete
    assert (second.complete, second.size) == (True, 8_000_000)


async def test_a_kept_connection_that_went_stale_costs_no_attempt(
    manager: WorkManager, make: Made
) -> None:
    """Transfer spec 8: one reconnect before a byte of the body was sent is free."""
    closed = asyncio.Event()

    async def speak(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await request_of(reader)
        writer.write(answer())
        await writer.drain()
        if server.connections == 1:
            writer.transport.abort()
            closed.set()
        await reader.read()

    async with RawServer(speak) as server:
        for name in ("a", "b"):
            worker = NativeWorker.http_upload(url=server.url, file_path=make())
            event = await (await manager.enqueue(name, worker)).result()
            assert (event.success, event.attempt) == (True, 1)
            await closed.wait()
        assert server.connections == 2


async def test_connections_are_used_again(manager: WorkManager, make: Made) -> None:
    async def speak(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while True:
            await request_of(reader)
            writer.write(answer(body=b"thanks"))

    async with RawServer(speak) as server:
        for _ in range(5):
            worker = NativeWorker.http_upload(url=server.url, file_path=make())
            assert (await (await manager.enqueue(None, worker)).result()).success
        assert server.connections == 1
