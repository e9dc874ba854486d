"""F-15: the service is killed in the middle of streams; nothing is missing and nothing doubled."""

from __future__ import annotations

import asyncio
import contextlib
import json
import random
from collections.abc import Callable, Coroutine
from contextlib import closing
from pathlib import Path
from typing import Any

import aiohttp
import pytest
from tests.service.process import Serve

from outhaul import TaskEvent, WorkManager
from outhaul.service.client import Client

KILLS = 3
Seen = list[tuple[int, str]]
Reader = Callable[[Serve, Seen], Coroutine[Any, Any, None]]


async def by_hand(served: Serve, seen: Seen) -> None:
    """As a browser reads: what is not whole does not count; it comes back with the last id."""
    last = ""
    while True:
        try:
            reader, writer = await asyncio.open_connection("127.0.0.1", served.port)
        except OSError:
            await asyncio.sleep(0.02)
            continue
        # In HTTP/1.0 an answer is not in pieces: it is the lines alone.
        head = f"GET /v1/events?after=0 HTTP/1.0\r\nHost: 127.0.0.1\r\n{last}\r\n"
        with contextlib.suppress(OSError, asyncio.IncompleteReadError), closing(writer):
            writer.write(head.encode())
            await reader.readuntil(b"\r\n\r\n")
            while block := await reader.readuntil(b"\n\n"):
                fields = dict(line.partition(": ")[::2] for line in block.decode().splitlines())
                if "id" in fields:
                    last = f"Last-Event-ID: {fields['id']}\r\n"
                if "data" in fields:
                    seen.append((int(fields["id"]), json.loads(fields["data"])["task_id"]))


async def by_client(served: Serve, seen: Seen) -> None:
    async with Client(served.url) as client:
        async for event in client.events(after=0):
            seen.append((event.seq, event.task_id))


async def write(served: Serve) -> None:
    """Enqueues and cancels, whether it is answered or not."""
    path = str(served.folder / "root" / "a.txt")
    worker = {"type": "http_upload", "url": "http://127.0.0.1:9/", "file_path": path}
    trigger = {"type": "one_time", "initial_delay_ms": 3_600_000}
    number = 0
    async with aiohttp.ClientSession(served.url) as session:
        while True:
            number += 1
            task = {"worker": worker, "trigger": trigger, "task_id": f"{number}-{'x' * 200}"}
            try:
                await (await session.post("/v1/tasks", json=[task])).read()
                if number % 3 == 0:
                    await (await session.delete(f"/v1/tasks/{task['task_id']}")).read()
            except aiohttp.ClientError:
                await asyncio.sleep(0.02)


@pytest.mark.timeout(60)
@pytest.mark.parametrize("read", [by_hand, by_client])
async def test_a_stream_goes_on_over_kills_without_a_gap(
    tmp_path: Path, folder: Path, read: Reader, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("outhaul.service.patience.RECONNECT_AFTER_S", 0.02)
    monkeypatch.setattr("outhaul.service.patience.RECONNECTS_MAX", 1000)
    assert folder.exists()
    chance = random.Random(11)
    seen: Seen = []
    async with Serve(tmp_path, "--allow-address", "127.0.0.0/8") as served, asyncio.timeout(40):
        tasks = [asyncio.create_task(write(served)), asyncio.create_task(read(served, seen))]
        for _ in range(KILLS):
            until = len(seen) + chance.randrange(50, 150)
            while len(seen) < until:
                await asyncio.sleep(0.005)
            await served.kill()
            await served.start()
        tasks[0].cancel()
        await asyncio.gather(tasks[0], return_exceptions=True)
        log = await everything(served.folder / "work.db")
        while len(seen) < len(log):
            await asyncio.sleep(0.005)
        tasks[1].cancel()
        await asyncio.gather(tasks[1], return_exceptions=True)
    assert seen == [(event.seq, event.task_id) for event in log]
    assert len(log) > 50 * KILLS


async def everything(store: Path) -> list[TaskEvent]:
    async with WorkManager(store, run=False) as manager:
        return [event async for event in manager.events(after=0, follow=False)]
