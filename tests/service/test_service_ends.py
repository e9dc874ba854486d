"""The application ends: its streams end at once, nothing is left of it, nobody is let in."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import aiohttp
import pytest
from aiohttp import web
from tests.service.kit import Service
from tests.service.serving import a_manager
from tests.service.test_stream_ends import LONG, Deaf
from tests.service.test_streams import task

from outhaul.service import create_app, feed
from outhaul.service.serve import _runner
from outhaul.service.streams import Streams

NEVER_S = 3600.0


@asynccontextmanager
async def running(app: web.Application) -> AsyncIterator[str]:
    """As `serve` runs it."""
    runner = _runner(app)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    yield f"http://127.0.0.1:{runner.addresses[0][1]}"
    await runner.cleanup()


@pytest.mark.parametrize("path", ["/v1/events", "/v1/progress"])
async def test_streams_end_at_once_when_the_service_ends(
    tmp_path: Path, folder: Path, path: str
) -> None:
    """Their clients come back, here or elsewhere: nobody waits for a heartbeat or a time-out."""
    app = create_app(a_manager(tmp_path / "w.db", folder), heartbeat=NEVER_S)
    runner = web.AppRunner(app, access_log=None, shutdown_timeout=NEVER_S)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    url = f"http://127.0.0.1:{runner.addresses[0][1]}"
    async with aiohttp.ClientSession(url) as session, session.get(path) as response:
        assert (await response.content.readline()).startswith(b"retry")
        async with asyncio.timeout(5):
            await runner.cleanup()


async def test_no_stream_begins_once_the_service_ends(service: Service) -> None:
    assert service._runner is not None
    await service._runner.app.shutdown()
    for path in ("/v1/events", "/v1/progress"):
        answer = await asyncio.wait_for(service.ask("GET", path), 5)
        assert (answer.status, answer.body["code"]) == (503, "CLOSED")


@pytest.mark.parametrize("prefix", ["", "/work"], ids=["by itself", "mounted"])
async def test_an_application_that_has_ended_leaves_nothing_running(
    tmp_path: Path, folder: Path, prefix: str
) -> None:
    before = asyncio.all_tasks()
    app = create_app(a_manager(tmp_path / "w.db", folder))
    if prefix:
        mounted, app = app, web.Application()
        app.add_subapp(prefix, mounted)
    async with (
        running(app) as url,
        aiohttp.ClientSession(url) as session,
        session.get(f"{prefix}/v1/events?follow=false") as response,
    ):
        assert response.status == 200
        await response.read()
    await asyncio.sleep(0)
    assert asyncio.all_tasks() == before


async def test_a_client_that_leaves_its_progress_leaves_no_question_and_is_no_mistake(
    tmp_path: Path, folder: Path, caplog: pytest.LogCaptureFixture
) -> None:
    app = create_app(a_manager(tmp_path / "w.db", folder), heartbeat=NEVER_S)
    async with running(app) as url:
        before = asyncio.all_tasks()
        async with aiohttp.ClientSession(url) as session, session.get("/v1/progress") as response:
            assert (await response.content.readline()).startswith(b"retry")
        async with asyncio.timeout(5):
            while asyncio.all_tasks() - before:
                await asyncio.sleep(0.01)
    assert [record for record in caplog.records if record.levelno > logging.INFO] == []


async def test_a_mistake_in_a_stream_that_has_begun_cuts_it_off(
    service: Service, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """So that nobody takes it for the end of the log."""
    await service.manager.enqueue_all([task(), task()])
    frame_of = feed.frame_of

    def wrong(event: object) -> bytes:
        assert event.seq < 2  # type: ignore[attr-defined]  # fails in the second chunk
        return frame_of(event)  # type: ignore[arg-type]

    monkeypatch.setattr(feed, "frame_of", wrong)
    monkeypatch.setattr(feed, "CHUNK_BYTES", 1)
    async with service.session.get("/v1/events?after=0&follow=false") as response:
        assert response.status == 200
        with pytest.raises(aiohttp.ClientPayloadError):
            await response.read()
    (mistake,) = [record for record in caplog.records if record.levelno > logging.WARNING]
    assert mistake.exc_info is not None


async def test_what_is_held_for_a_client_that_is_dropped_is_let_go(
    tmp_path: Path, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A connection that is only closed would be kept until all of it was read."""
    write = Streams._write
    transports: set[asyncio.Transport] = set()

    async def noted(
        streams: Streams, response: web.StreamResponse, request: web.Request, chunk: bytes
    ) -> None:
        assert request.transport is not None
        transports.add(request.transport)
        await write(streams, response, request, chunk)

    monkeypatch.setattr(Streams, "_write", noted)
    async with Service(tmp_path / "w.db", folder, stall_timeout=0.1) as service:
        await service.manager.enqueue_all([task(f"{n}-{LONG}") for n in range(12_000)])
        deaf = Deaf(service, "/v1/events?after=0")
        await deaf.begun()
        async with asyncio.timeout(10):
            while deaf.held is not None:
                await asyncio.sleep(0.01)
        (transport,) = transports
        assert transport.get_write_buffer_size() == 0
        deaf.socket.close()
