"""Enqueues over HTTP: one task a request on 32 connections, and a thousand a request.

The client (`HttpClient`) writes bytes that were made before it began and reads no more of an answer
than its length, so that what is measured is the server.
"""

from __future__ import annotations

import asyncio
import json
import re
import sys
import time
from contextlib import asynccontextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import psutil

from outhaul_bench import drive
from outhaul_bench.contest import Column, Contender, Contest
from outhaul_bench.measure import percentile

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

_COLUMNS = (
    Column("tasks_s", "tasks/s"),
    Column("p50_ms", "p50 ms", 2),
    Column("p99_ms", "p99 ms", 2),
    Column("cpu_us", "server CPU µs/task"),
)
_PURE = ("msgspec",)


def contests(*, tiny: bool = False) -> list[Contest]:
    seconds = 0.2 if tiny else 3.0
    few = {"connections": 32, "batch": 1, "seconds": seconds}
    many = {"connections": 2, "batch": 10 if tiny else 1000, "seconds": seconds}
    return [
        _contest("http-one", "Enqueue over HTTP, one task a request, 32 connections", few),
        _contest("http-many", "Enqueue over HTTP, 1000 tasks a request, 2 connections", many),
    ]


def _contest(name: str, title: str, shared: dict[str, Any]) -> Contest:
    return Contest(
        name=name,
        title=title,
        contenders=(
            Contender("outhaul", f"{__name__}:outhaul", shared),
            Contender("aiohttp, plain Python", f"{__name__}:pure_python", shared, _PURE),
        ),
        columns=_COLUMNS,
        goals=(),
        rounds=3,
    )


async def outhaul(folder: str, connections: int, batch: int, seconds: float) -> dict[str, Any]:
    """`outhaul serve`; the tasks are due in an hour."""
    Path(folder, "file").write_bytes(b"x")
    db = str(Path(folder, "work.db"))
    command = ("-m", "outhaul.cli", "--db", db, "serve", "--root", folder)
    # Its size is that of what the other one stores.
    task = {
        "worker": {
            "type": "http_upload",
            "url": "https://api.example.com/upload",
            "file_path": str(Path(folder, "file")),
            "headers": {"X-Note": drive.PAYLOAD["note"]},
        },
        "trigger": {"type": "one_time", "initial_delay_ms": 3_600_000},
    }
    async with _server(*command, "--listen", "127.0.0.1:0") as (port, process):
        return await _drive(port, process, task, connections, batch, seconds)


async def pure_python(folder: str, connections: int, batch: int, seconds: float) -> dict[str, Any]:
    """An aiohttp handler that checks nothing, over the pure-Python group commit."""
    command = ("-m", "outhaul_bench.peers.http_group_commit", str(Path(folder, "jobs.db")))
    async with _server(*command) as (port, process):
        return await _drive(port, process, drive.PAYLOAD, connections, batch, seconds)


@asynccontextmanager
async def _server(*command: str) -> AsyncIterator[tuple[int, psutil.Process]]:
    process = await asyncio.create_subprocess_exec(
        sys.executable, *command, stderr=asyncio.subprocess.PIPE
    )
    try:
        assert process.stderr is not None
        said = (await process.stderr.readline()).decode()
        found = re.search(r":(\d+)$", said.strip())
        assert found, said
        yield int(found[1]), psutil.Process(process.pid)
    finally:
        process.terminate()
        await process.communicate()


async def _drive(
    port: int,
    process: psutil.Process,
    task: dict[str, Any],
    connections: int,
    batch: int,
    seconds: float,
) -> dict[str, Any]:
    body = json.dumps(task if batch == 1 else [task] * batch).encode()
    head = (
        b"POST /v1/tasks HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Type: application/json\r\n"
        b"Content-Length: %d\r\n\r\n" % len(body)
    )
    clients = [await HttpClient.connected(port) for _ in range(connections)]
    for client in clients:
        await client.ask(head + body)  # caches
    took_ms: list[float] = []

    async def call(client: HttpClient) -> None:
        while (before := time.perf_counter()) < until:
            await client.ask(head + body)
            took_ms.append((time.perf_counter() - before) * 1000)

    cpu = process.cpu_times()
    began = time.perf_counter()
    until = began + seconds
    await asyncio.gather(*map(call, clients))
    wall_s = time.perf_counter() - began
    now = process.cpu_times()
    number = len(took_ms) * batch
    cpu_s = now.user + now.system - cpu.user - cpu.system
    return {
        "tasks_s": number / wall_s,
        "p50_ms": percentile(took_ms, 50),
        "p99_ms": percentile(took_ms, 99),
        "cpu_us": cpu_s / number * 1e6,
    }


class HttpClient(asyncio.Protocol):
    """One connection that is kept alive; one request at a time."""

    def __init__(self) -> None:
        self._transport: asyncio.Transport | None = None
        self._got = bytearray()
        self._answered: asyncio.Future[None] | None = None

    @classmethod
    async def connected(cls, port: int) -> HttpClient:
        loop = asyncio.get_running_loop()
        _, client = await loop.create_connection(cls, "127.0.0.1", port)
        return client

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = transport  # type: ignore[assignment]  # uvloop's is none by its class

    def connection_lost(self, exc: Exception | None) -> None:
        if self._answered is not None and not self._answered.done():
            self._answered.set_exception(exc or ConnectionResetError())

    def data_received(self, data: bytes) -> None:
        self._got += data
        end = self._got.find(b"\r\n\r\n")
        if end < 0:
            return
        head = bytes(self._got[:end]).lower()
        at = head.index(b"content-length:") + 15
        length = int(head[at:].split(b"\r\n", 1)[0])
        if len(self._got) < end + 4 + length:
            return
        assert head.startswith(b"http/1.1 20"), bytes(self._got)
        self._got.clear()
        assert self._answered is not None
        self._answered.set_result(None)

    async def ask(self, request: bytes) -> None:
        assert self._transport is not None
        self._answered = asyncio.get_running_loop().create_future()
        self._transport.write(request)
        await self._answered
