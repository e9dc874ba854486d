"""A connection is kept for the next upload, for as long as it can be trusted."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from tests.http.conftest import Made
from tests.http.peers import RawServer, answer, request_of

from outhaul import NativeWorker, WorkManager
from outhaul.testing import FakeClock, FakeSignals


@pytest.fixture
async def peer() -> AsyncIterator[RawServer]:
    async def accept_all(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while True:
            await request_of(reader)
            writer.write(answer())

    async with RawServer(accept_all) as peer:
        yield peer


@pytest.fixture
def signals() -> FakeSignals:
    return FakeSignals()


@pytest.fixture
async def manager(
    tmp_path: Path, clock: FakeClock, signals: FakeSignals
) -> AsyncIterator[WorkManager]:
    async with WorkManager(tmp_path / "work.db", clock=clock, signals=signals) as manager:
        yield manager


async def upload(manager: WorkManager, peer: RawServer, path: Path) -> None:
    worker = NativeWorker.http_upload(url=peer.url, file_path=path)
    event = await (await manager.enqueue(None, worker)).result()
    assert event.success, event


async def test_one_upload_after_the_other_has_one_connection(
    manager: WorkManager, peer: RawServer, clock: FakeClock, make: Made
) -> None:
    for _ in range(3):
        await upload(manager, peer, make())
        clock.advance(14)
    assert peer.connections == 1


async def test_a_connection_is_not_used_in_another_network(
    manager: WorkManager, peer: RawServer, signals: FakeSignals, make: Made
) -> None:
    """The one before the loss may lead nowhere, and only a time-out would tell."""
    path = make()
    await upload(manager, peer, path)
    signals.set_network(up=False)
    signals.set_network(up=True)
    await upload(manager, peer, path)
    assert peer.connections == 2


async def test_a_connection_is_not_used_after_the_host_was_suspended(
    manager: WorkManager, peer: RawServer, clock: FakeClock, make: Made
) -> None:
    """Nothing of ours ran meanwhile: the wall clock alone tells."""
    path = make()
    await upload(manager, peer, path)
    clock.advance(46)
    await upload(manager, peer, path)
    assert peer.connections == 2
