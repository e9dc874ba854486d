"""Streams that wait cost little: 500 of them less than 20 KiB each, and next to no time."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path

import psutil
import pytest
from tests.service.process import Serve

STREAMS = 500
BYTES_EACH_MAX = 20 * 1024


@pytest.fixture
async def served(tmp_path: Path, folder: Path) -> AsyncIterator[Serve]:
    assert folder.exists()
    async with Serve(tmp_path) as served:
        yield served


async def a_stream(port: int, path: str) -> asyncio.StreamWriter:
    reader, writer = await asyncio.open_connection("127.0.0.1", port, limit=1024)
    writer.write(f"GET {path} HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n".encode())
    while await reader.readline() != b"retry: 2000\n":
        pass
    return writer


@pytest.mark.timeout(60)
@pytest.mark.parametrize("path", ["/v1/events", "/v1/events?tag=none&after=0", "/v1/progress"])
async def test_idle_streams_cost_little_memory_and_no_time(served: Serve, path: str) -> None:
    assert served.process is not None
    process = psutil.Process(served.process.pid)
    warm = [await a_stream(served.port, path) for _ in range(20)]
    before = process.memory_info().rss
    streams = [await a_stream(served.port, path) for _ in range(STREAMS)]
    each = (process.memory_info().rss - before) / STREAMS
    assert each < BYTES_EACH_MAX
    spent = process.cpu_times()
    await asyncio.sleep(2)
    now = process.cpu_times()
    assert now.user + now.system - spent.user - spent.system < 0.1
    for writer in (*warm, *streams):
        writer.transport.abort()
