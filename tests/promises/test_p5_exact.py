"""P5: exactly the bytes of exactly the file that was enqueued, or an error and a closed line."""

from __future__ import annotations

import asyncio
import os
from collections.abc import AsyncIterator
from datetime import timedelta
from pathlib import Path

import pytest
from tests.http.changes import Change, delete, empty, grow, rewrite, shrink
from tests.http.conftest import Made
from tests.http.peers import RawServer, answer, head_of, length_of, verdict

from outhaul import ErrorCode, EventKind, NativeWorker, TaskEvent, TaskTrigger, WorkManager
from outhaul.testing import Answer, FakeClock, FlakyServer

LATER = TaskTrigger.one_time(timedelta(minutes=1))
BIG = 32 * 1024 * 1024


def replace(path: Path) -> None:
    """By a file of the same size and time."""
    before = path.stat()
    other = path.with_suffix(".new")
    other.write_bytes(b"x" * before.st_size)
    os.utime(other, ns=(before.st_atime_ns, before.st_mtime_ns))
    other.replace(path)


def replace_by_link(path: Path) -> None:
    other = path.with_suffix(".new")
    other.write_bytes(b"x" * path.stat().st_size)
    path.unlink()
    path.symlink_to(other)


def make_directory(path: Path) -> None:
    path.unlink()
    path.mkdir()


CHANGES = [grow, shrink, empty, rewrite, replace, replace_by_link]


def is_changed(event: TaskEvent) -> bool:
    assert event.message
    return (event.kind, event.error_code) == (EventKind.FAILED, ErrorCode.SOURCE_CHANGED)


@pytest.mark.parametrize("change", CHANGES)
@pytest.mark.parametrize("body", ["multipart", "raw"])
async def test_a_file_that_changed_before_its_attempt_is_not_sent(
    manager: WorkManager,
    server: FlakyServer,
    make: Made,
    clock: FakeClock,
    change: Change,
    body: str,
) -> None:
    path = make(b"x" * 100_000)
    worker = NativeWorker.http_upload(url=server.url, file_path=path, body=body)  # type: ignore[arg-type]
    task = await manager.enqueue("x", worker, trigger=LATER)
    change(path)
    clock.advance(timedelta(minutes=1))
    assert is_changed(await task.result())
    assert not server.requests


@pytest.mark.parametrize(
    ("change", "code", "phrase"),
    [
        pytest.param(delete, ErrorCode.FILE_NOT_FOUND, "File not found", id="S-178, S-306"),
        pytest.param(make_directory, ErrorCode.FILE_NOT_FOUND, "", id="a directory now"),
    ],
)
async def test_a_file_that_is_gone_fails_for_good(
    manager: WorkManager,
    server: FlakyServer,
    make: Made,
    clock: FakeClock,
    change: Change,
    code: ErrorCode,
    phrase: str,
) -> None:
    path = make()
    worker = NativeWorker.http_upload(url=server.url, file_path=path)
    task = await manager.enqueue("x", worker, trigger=LATER)
    change(path)
    clock.advance(timedelta(minutes=1))
    event = await task.result()
    assert (event.kind, event.attempt, event.error_code) == (EventKind.FAILED, 1, code)
    assert phrase in event.message
    assert not server.requests


@pytest.mark.parametrize("change", CHANGES)
async def test_a_file_that_changed_between_two_attempts_is_not_sent_again(
    manager: WorkManager, make: Made, clock: FakeClock, change: Change
) -> None:
    path = make(b"x" * 100_000)
    async with FlakyServer(script=[Answer(status=503)]) as server:
        task = await manager.enqueue("x", NativeWorker.http_upload(url=server.url, file_path=path))
        await verdict(task)
        change(path)
        clock.advance(33)
        assert is_changed(await task.result())
        assert len(server.requests) == 1


class Gate(RawServer):
    """Reads a little, waits until the test has done its deed, and then takes all there is."""

    def __init__(self) -> None:
        super().__init__(self._read)
        self.reached, self.go_on, self.ended = asyncio.Event(), asyncio.Event(), asyncio.Event()
        self.expected = self.got = 0

    async def _read(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.expected = length_of(await head_of(reader))
        self.got = len(await reader.readexactly(100_000))
        self.reached.set()
        await self.go_on.wait()
        try:
            while self.got < self.expected and (chunk := await reader.read(1 << 20)):
                self.got += len(chunk)
            if self.got == self.expected:
                writer.write(answer())
                await reader.read()
        finally:
            self.ended.set()


@pytest.fixture
async def gate() -> AsyncIterator[Gate]:
    async with Gate() as gate:
        yield gate


@pytest.mark.parametrize("change", [grow, shrink, empty, rewrite])
@pytest.mark.parametrize("body", ["multipart", "raw"])
async def test_a_file_that_changes_while_it_is_sent_never_completes(
    manager: WorkManager, gate: Gate, make: Made, change: Change, body: str
) -> None:
    """The last frame is held back until the file was looked at again (DESIGN section 9)."""
    path = make(BIG)
    worker = NativeWorker.http_upload(url=gate.url, file_path=path, body=body)  # type: ignore[arg-type]
    task = await manager.enqueue("x", worker)
    await gate.reached.wait()
    change(path)
    gate.go_on.set()
    assert is_changed(await task.result())
    async with asyncio.timeout(1):
        await gate.ended.wait()
    assert gate.got < gate.expected
    assert gate.connections == 1


@pytest.mark.parametrize("change", [replace, delete])
async def test_a_name_that_points_elsewhere_while_the_file_is_sent_changes_nothing_in_it(
    manager: WorkManager, gate: Gate, make: Made, change: Change
) -> None:
    """The open file is the one that was enqueued: all of its bytes or an error, never a mixture."""
    path = make(BIG)
    task = await manager.enqueue("x", NativeWorker.http_upload(url=gate.url, file_path=path))
    await gate.reached.wait()
    change(path)
    gate.go_on.set()
    event = await task.result()
    assert event.success or is_changed(event)
    assert (gate.got == gate.expected) is bool(event.success)


async def test_a_file_that_is_only_read_or_renamed_over_by_itself_is_the_same(
    manager: WorkManager, server: FlakyServer, make: Made, clock: FakeClock
) -> None:
    path = make(b"x" * 100_000)
    worker = NativeWorker.http_upload(url=server.url, file_path=path)
    task = await manager.enqueue("x", worker, trigger=LATER)
    path.read_bytes()
    path.chmod(0o400)
    path.rename(path.with_suffix(".away")).rename(path)
    clock.advance(timedelta(minutes=1))
    assert (await task.result()).success
    assert server.requests[0].complete
