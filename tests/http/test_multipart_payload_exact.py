"""P5 in a user's own session: the declared bytes of the files that were opened, or an error."""

from __future__ import annotations

import asyncio
import hashlib
import os
from collections.abc import AsyncIterator
from pathlib import Path

import aiohttp
import pytest
from tests.http.changes import Change, delete, empty, grow, rewrite, shrink
from tests.http.conftest import Made
from tests.http.payloads import BIG, Cold, Gate, one_file, post
from tests.http.peers import RawServer

from outhaul.aiohttp import FilePart, MultipartPayload, UploadProgress
from outhaul.errors import InvalidArgumentError, OuthaulError, SourceChangedError
from outhaul.testing import FlakyServer


@pytest.fixture
async def session() -> AsyncIterator[aiohttp.ClientSession]:
    async with aiohttp.ClientSession() as session:
        yield session


def copy_over(path: Path) -> None:
    path.write_bytes(b"x" * path.stat().st_size)


def rename_over(path: Path) -> None:
    other = path.with_suffix(".new")
    other.write_bytes(b"x" * path.stat().st_size)
    other.replace(path)


def aged(path: Path) -> Path:
    """Written long ago, so that the clock of any file system tells the next writing from it."""
    os.utime(path, ns=(1, 1))
    return path


CHANGES = [grow, shrink, empty, rewrite, copy_over]


@pytest.fixture
async def gate() -> AsyncIterator[Gate]:
    async with Gate() as gate:
        yield gate


@pytest.mark.parametrize("change", CHANGES)
async def test_a_file_that_changes_while_it_is_sent_never_completes(
    session: aiohttp.ClientSession, gate: Gate, make: Made, change: Change
) -> None:
    path = aged(make(BIG))
    sending = asyncio.create_task(post(session, gate.url, one_file(path)))
    await gate.reached.wait()
    await asyncio.to_thread(change, path)
    gate.go_on.set()
    with pytest.raises(aiohttp.ClientConnectionError) as failed:
        await sending
    assert type(failed.value.__cause__) is SourceChangedError
    assert failed.value.__cause__.argument == "parts[0].path"
    async with asyncio.timeout(1):
        await gate.ended.wait()
    assert gate.got < gate.expected
    assert await post(session, gate.url, one_file(make(b"other", "other"))) == 200
    assert gate.connections == 2, "the connection was used again"


@pytest.mark.parametrize("change", CHANGES)
@pytest.mark.parametrize("method", ["POST", "PUT"])
async def test_a_file_that_changed_before_it_is_sent_is_not_begun(
    session: aiohttp.ClientSession, server: FlakyServer, make: Made, change: Change, method: str
) -> None:
    path = aged(make(b"0" * 100_000))
    payload = one_file(path)
    change(path)
    with pytest.raises(aiohttp.ClientConnectionError) as failed:
        await session.request(method, server.url, data=payload)
    assert type(failed.value.__cause__) is SourceChangedError
    assert not server.requests


async def test_a_file_that_changes_after_its_bytes_went_out_spoils_the_body_all_the_same(
    session: aiohttp.ClientSession, gate: Gate, make: Made
) -> None:
    """The last chunk is held back until all files were looked at, not only those it is of."""
    small, large = make(b"x" * 1000, "small"), make(BIG)
    payload = MultipartPayload([FilePart("a", small), FilePart("b", large)])
    sending = asyncio.create_task(post(session, gate.url, payload))
    await gate.reached.wait()
    grow(small)
    gate.go_on.set()
    with pytest.raises(aiohttp.ClientConnectionError) as failed:
        await sending
    assert isinstance(failed.value.__cause__, SourceChangedError)
    assert failed.value.__cause__.argument == "parts[0].path"
    async with asyncio.timeout(1):
        await gate.ended.wait()
    assert gate.got < gate.expected


@pytest.mark.parametrize("change", [rename_over, delete])
async def test_a_name_that_leads_elsewhere_while_the_file_is_sent_changes_nothing(
    session: aiohttp.ClientSession, gate: Gate, make: Made, change: Change
) -> None:
    """The open file is the one that was given: all of its bytes, and nothing of another."""
    path = aged(make(BIG))
    payload = one_file(path)
    whole = await asyncio.to_thread(digest_of, payload)
    sending = asyncio.create_task(post(session, gate.url, payload))
    await gate.reached.wait()
    await asyncio.to_thread(change, path)
    gate.go_on.set()
    assert await sending == 200
    assert gate.got == gate.expected == payload.size
    assert gate.digest.digest() == whole


def digest_of(payload: MultipartPayload) -> bytes:
    """Of what it would send, read past the session."""
    found, step = hashlib.sha256(), 1 << 20
    for offset in range(0, payload.size, step):
        found.update(payload._value.read_at(offset, step))
    return found.digest()


async def test_another_declared_length_is_refused_before_the_server_sees_a_byte(
    session: aiohttp.ClientSession, make: Made
) -> None:
    seen = []

    async def speak(reader: asyncio.StreamReader, _: asyncio.StreamWriter) -> None:
        seen.append(await reader.read())

    async with RawServer(speak) as server:
        with pytest.raises(aiohttp.ClientConnectionError) as failed:
            await session.post(server.url, data=one_file(make()), headers={"Content-Length": "7"})
        assert isinstance(failed.value.__cause__, InvalidArgumentError)
        assert failed.value.__cause__.argument == "Content-Length"
        while not seen:
            await asyncio.sleep(0.01)
    assert seen == [b""]


async def test_a_failure_ends_even_an_answer_that_came_early(
    session: aiohttp.ClientSession, make: Made
) -> None:
    """The server says 200 and then waits for a body whose end will never come."""
    path = aged(make(BIG))
    async with Gate(says=b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\n") as gate:
        async with session.post(gate.url, data=one_file(path)) as response:
            await gate.reached.wait()
            grow(path)
            gate.go_on.set()
            async with asyncio.timeout(5):
                with pytest.raises(aiohttp.ClientError):
                    await response.read()
        async with asyncio.timeout(1):
            await gate.ended.wait()
        assert gate.got < gate.expected


async def test_a_cancelled_upload_closes_its_connection(
    session: aiohttp.ClientSession, gate: Gate, make: Made
) -> None:
    sending = asyncio.create_task(post(session, gate.url, one_file(make(BIG))))
    await gate.reached.wait()
    sending.cancel()
    with pytest.raises(asyncio.CancelledError):
        await sending
    gate.go_on.set()
    async with asyncio.timeout(1):
        await gate.ended.wait()
    assert gate.got < gate.expected
    assert await post(session, gate.url, one_file(make(b"other", "other"))) == 200
    assert gate.connections == 2


@pytest.mark.parametrize("mistake", [ValueError("no"), OSError(5, "no"), TimeoutError()], ids=repr)
@pytest.mark.parametrize("method", ["POST", "PUT"])
async def test_a_callback_that_raises_fails_its_request(
    session: aiohttp.ClientSession, gate: Gate, make: Made, method: str, mistake: Exception
) -> None:
    calls = 0

    def raise_at_10(update: UploadProgress) -> None:
        nonlocal calls
        calls += 1
        if update.percent >= 10:
            raise mistake

    gate.go_on.set()
    payload = one_file(make(BIG), on_progress=raise_at_10)
    with pytest.raises(aiohttp.ClientConnectionError) as failed:
        await session.request(method, gate.url, data=payload)
    cause = failed.value.__cause__
    assert isinstance(cause, OuthaulError)
    assert (cause.argument, cause.__cause__) == ("on_progress", mistake)
    async with asyncio.timeout(1):
        await gate.ended.wait()
    assert gate.got < gate.expected
    assert gate.connections == 1
    assert calls <= 11


async def test_progress_waits_for_the_kernel(
    session: aiohttp.ClientSession, gate: Gate, make: Made
) -> None:
    """A server that does not read holds the body up, and the percentage with it."""
    told: list[UploadProgress] = []
    payload = one_file(make(4 * BIG), on_progress=told.append)
    sending = asyncio.create_task(post(session, gate.url, payload))
    await gate.reached.wait()
    before = -1
    while before != (before := told[-1].bytes_sent):  # until the kernel takes no more
        await asyncio.sleep(0.1)
    assert told[-1].percent < 50
    gate.go_on.set()
    assert await sending == 200
    assert told[-1].percent == 99


async def test_a_cold_file_that_changes_is_noticed_in_the_thread(
    session: aiohttp.ClientSession, gate: Gate, make: Made, monkeypatch: pytest.MonkeyPatch
) -> None:
    Cold.made = []
    monkeypatch.setattr("outhaul.aiohttp.MultipartEncoder", Cold)
    path = aged(make(BIG))
    sending = asyncio.create_task(post(session, gate.url, one_file(path)))
    await gate.reached.wait()
    rewrite(path)
    gate.go_on.set()
    with pytest.raises(aiohttp.ClientConnectionError) as failed:
        await sending
    assert isinstance(failed.value.__cause__, SourceChangedError)
    async with asyncio.timeout(1):
        await gate.ended.wait()
    assert gate.got < gate.expected
