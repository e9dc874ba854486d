"""How streams end: refused before they begin, left, dropped, or with the service."""

from __future__ import annotations

import asyncio
import logging
import socket
import struct
from pathlib import Path
from typing import Any

import aiohttp
import pytest
from aiohttp import web
from tests.service.kit import NOWHERE, Service, said
from tests.service.test_streams import take, task

from outhaul import PythonWorker, Retention, WorkManager
from outhaul.errors import CursorPrunedError
from outhaul.service import create_app
from outhaul.service.client import Client
from outhaul.service.feed import CHUNK_BYTES
from outhaul.service.serve import _runner

LONG = "x" * 480


async def test_a_number_that_retention_has_passed_is_gone(tmp_path: Path, folder: Path) -> None:
    async def work(_: object, __: object) -> bool:
        return True

    async with WorkManager(tmp_path / "w.db", workers={"work": work}) as manager:
        for number in range(8):
            await manager.enqueue(f"t{number}", PythonWorker("work"))
        await manager.wait_idle()
    keep = Retention(completed_max=3, completed=None)
    async with Service(tmp_path / "w.db", folder, retention=keep) as service:
        async with asyncio.timeout(10):
            while (await service.manager.stats()).completed > 3:
                await asyncio.sleep(0.01)
        for query, headers in (("?after=2", {}), ("?after=2&follow=false", {}), (
            "?after=0", {"Last-Event-ID": "2"}
        )):  # fmt: skip
            answer = await service.ask("GET", f"/v1/events{query}", headers=headers)
            assert (answer.status, answer.body["code"]) == (410, "CURSOR_PRUNED"), answer
        async with service.stream("/v1/events?after=0") as stream:
            assert {each.data["task_id"] for each in await take(stream, 9)} == {"t5", "t6", "t7"}
        async with Client(service.url) as client:
            with pytest.raises(CursorPrunedError):
                await anext(client.events(after=2))


async def test_a_number_that_the_log_has_not_reached_is_of_another_log(service: Service) -> None:
    """A store that was restored: who came further with the other one is told so."""
    await service.enqueue(service.upload(NOWHERE))
    async with service.stream("/v1/events?after=1"):  # the ring is in use
        for query, headers in (("?after=500", {}), ("?after=0", {"Last-Event-ID": "500"}), (
            "?after=500&follow=false&skip_pruned=true", {}
        )):  # fmt: skip
            answer = await service.ask("GET", f"/v1/events{query}", headers=headers)
            assert (answer.status, answer.body["code"]) == (410, "CURSOR_PRUNED"), answer
            assert "another one" in answer.body["detail"]
    with pytest.raises(CursorPrunedError, match="the log ends at"):
        await anext(aiter(service.manager.events(after=500)))


async def test_a_manager_that_is_closed_is_said_and_no_stream_begins(service: Service) -> None:
    async with service.session.get("/v1/events?after=0") as under_way:
        assert (await under_way.content.readline()).startswith(b"retry")
        await service.manager.close()
        for path in ("events", "events?after=0", "events?after=0&follow=false", "progress"):
            answer = await service.ask("GET", f"/v1/{path}")
            assert (answer.status, answer.body["code"]) == (503, "CLOSED"), path
        # It is cut off, so that nobody takes it for the end of the log.
        with pytest.raises(aiohttp.ClientPayloadError):
            await under_way.read()


class Deaf:
    """A client that asks for a stream and reads no more than its beginning."""

    def __init__(self, service: Service, path: str = "/v1/events") -> None:
        self._service = service
        self.socket = socket.socket()
        self.socket.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        self.socket.connect(("127.0.0.1", service.port))
        self.socket.settimeout(0)
        self.socket.sendall(b"GET %s HTTP/1.1\r\nHost: x\r\n\r\n" % path.encode())

    async def begun(self) -> None:
        reading = asyncio.get_running_loop().sock_recv(self.socket, 15)
        assert await asyncio.wait_for(reading, 5) == b"HTTP/1.1 200 OK"

    @property
    def held(self) -> int | None:
        """What the service holds for it; `None` once it has dropped it."""
        assert self._service._runner is not None
        server = self._service._runner.server
        assert server is not None
        for connection in server.connections:
            transport = connection.transport
            if transport and transport.get_extra_info("peername") == self.socket.getsockname():
                return transport.get_write_buffer_size()
        return None


async def test_little_is_held_for_a_client_that_never_reads_and_then_it_is_dropped(
    tmp_path: Path, folder: Path
) -> None:
    async with Service(tmp_path / "w.db", folder, stall_timeout=1) as service:
        deaf = Deaf(service)
        await deaf.begun()
        most = 0
        async with service.stream() as other:
            for at in range(30):
                await service.manager.enqueue_all([task(f"{at}-{n}-{LONG}") for n in range(300)])
                assert len(await take(other, 300)) == 300
                most = max(most, deaf.held or 0)
            async with asyncio.timeout(10):
                while deaf.held is not None:
                    await asyncio.sleep(0.01)
                    most = max(most, deaf.held or 0)
            await service.manager.cancel(f"1-1-{LONG}")
            assert [each.kind for each in await take(other, 1)] == ["cancelled"]
        deaf.socket.close()
    assert CHUNK_BYTES < most < 5 * CHUNK_BYTES


async def test_a_client_that_vanishes_is_no_mistake_of_ours(
    tmp_path: Path, folder: Path, caplog: pytest.LogCaptureFixture
) -> None:
    async with Service(tmp_path / "w.db", folder) as service:
        await service.manager.enqueue_all([task(f"{n}-{LONG}") for n in range(12_000)])
        deaf = Deaf(service, "/v1/events?after=0")
        await deaf.begun()
        async with asyncio.timeout(10):
            while (deaf.held or 0) <= CHUNK_BYTES:  # it waits for its reader
                await asyncio.sleep(0.01)
        deaf.socket.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        deaf.socket.close()  # with a reset
        half = socket.create_connection(("127.0.0.1", service.port))
        half.sendall(
            b"POST /v1/tasks HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\n"
            b"Content-Length: 9\r\n\r\n[{"
        )
        assert service._runner is not None
        server = service._runner.server
        assert server is not None
        async with asyncio.timeout(10):
            while not any(connection._current_request for connection in server.connections):
                await asyncio.sleep(0.01)
            half.close()  # in the middle of a body
            while len(server.connections) > 0:
                await asyncio.sleep(0.01)
        assert (await service.ask("GET", "/healthz")).status == 200
    assert [record for record in caplog.records if record.levelno > logging.INFO] == []


async def test_a_place_is_free_as_soon_as_its_client_is_gone(tmp_path: Path, folder: Path) -> None:
    """As `serve` runs it: no heartbeat has to find out."""
    service = Service(tmp_path / "w.db", folder)
    runner = _runner(create_app(service.manager, streams_max=1, heartbeat=3600))
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    async with aiohttp.ClientSession(f"http://127.0.0.1:{runner.addresses[0][1]}") as session:
        for _ in range(5):
            async with asyncio.timeout(5):
                while True:
                    async with session.get("/v1/events") as response:
                        if response.status == 200:
                            assert (await response.content.readline()).startswith(b"retry")
                            break
                        assert response.status == 503
                        await asyncio.sleep(0.01)
    await runner.cleanup()


async def test_a_mistake_in_a_stream_cuts_it_off_and_one_before_is_a_500(
    service: Service, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """No second head is ever written into a body that has begun."""
    await service.manager.enqueue_all([task()])

    def wrong(*_: object) -> Any:  # noqa: ANN401 — never returns
        raise ZeroDivisionError

    monkeypatch.setattr("outhaul.service.feed.frame_of", wrong)
    refused = await service.ask("GET", "/v1/events?after=0&follow=false")
    assert (refused.status, refused.body["code"]) == (500, "INTERNAL")
    assert "ZeroDivisionError" not in str(refused.body)
    monkeypatch.undo()
    async with service.session.get("/v1/progress") as response:
        assert (await response.content.readline()).startswith(b"retry")
        monkeypatch.setattr("outhaul.service.streams.HEARTBEAT", None)
        monkeypatch.setattr("outhaul.service.streams.Streams._write", wrong)
        await service.manager.close()
        with pytest.raises(aiohttp.ClientPayloadError):
            await response.read()
    assert [record.exc_info is not None for record in caplog.records if record.levelno > 30] == [
        True
    ]


async def test_all_of_many_streams_say_the_same(service: Service) -> None:
    """More of them than are woken in one turn of the loop."""
    async with aiohttp.ClientSession(
        service.url, connector=aiohttp.TCPConnector(limit=0)
    ) as session:

        async def read() -> list[int | None]:
            async with session.get("/v1/events?after=0") as response:
                return [each.id for each in await take(said(response), 100)]

        readings = [asyncio.create_task(read()) for _ in range(100)]
        for _ in range(50):
            await service.manager.enqueue_all([task(), task()])
        async with asyncio.timeout(20):
            assert await asyncio.gather(*readings) == [list(range(1, 101))] * 100
