"""Server-sent events: nothing missing, nothing doubled, nobody held up by who does not read."""

from __future__ import annotations

import asyncio
import contextlib
import random
from collections.abc import AsyncIterator
from contextlib import aclosing
from pathlib import Path
from typing import Any

import aiohttp
import pytest
from tests.service.kit import Said, Service

from outhaul import PythonWorker, Task, TaskTrigger
from outhaul.service import feed
from outhaul.service.specs import EventsQuery
from outhaul.testing import FlakyServer

LATER = TaskTrigger.one_time(3600)


def task(name: str | None = None, tag: str | None = None) -> Task:
    return Task(name, PythonWorker("nobody"), trigger=LATER, tag=tag)


async def take(stream: AsyncIterator[Said], number: int) -> list[Said]:
    """So many events; heartbeats are passed over."""
    found: list[Said] = []
    async with asyncio.timeout(10):
        async for each in stream:
            if each.kind:
                found.append(each)
            if len(found) == number:
                break
    return found


async def all_of(service: Service, path: str, **more: Any) -> list[Said]:  # noqa: ANN401 — aiohttp's
    joint = "&" if "?" in path else "?"
    async with service.stream(f"{path}{joint}follow=false", **more) as stream:
        return [each async for each in stream]


async def test_the_log_is_replayed_from_any_number_and_then_goes_on(service: Service) -> None:
    for number in range(3):
        await service.manager.enqueue_all([task(f"t{number}")])
    async with service.stream("/v1/events?after=1") as stream:
        assert [each.id for each in await take(stream, 2)] == [2, 3]
        await service.manager.cancel("t0")
        (last,) = await take(stream, 1)
        assert (last.id, last.kind, last.data["task_id"]) == (4, "cancelled", "t0")
        assert last.data["seq"] == 4


async def test_without_a_number_it_begins_now(service: Service) -> None:
    await service.manager.enqueue_all([task()])
    async with service.stream() as stream:
        await service.manager.enqueue_all([task("new")])
        (first,) = await take(stream, 1)
        assert first.data["task_id"] == "new"


async def test_the_last_event_id_wins_and_leaves_no_gap(service: Service) -> None:
    await service.manager.enqueue_all([task() for _ in range(10)])
    seen = await all_of(service, "/v1/events?after=0", headers={"Last-Event-ID": "7"})
    assert [each.id for each in seen] == [8, 9, 10]


async def test_streams_are_narrowed_by_tag_id_and_prefix(service: Service) -> None:
    await service.manager.enqueue_all([task("a1", "x"), task("a2", "y"), task("b1", "x"), task()])
    generated = (await service.manager.get_tasks_by_status())[-1].task_id
    wanted = {
        "tag=x": ["a1", "b1"],
        "task_id=a2": ["a2"],
        "prefix=a": ["a1", "a2"],
        f"prefix={generated[:9]}": [generated],
        f"task_id={generated}": [generated],
        "tag=x&prefix=b": ["b1"],
        "tag=none": [],
    }
    for query, ids in wanted.items():
        seen = await all_of(service, f"/v1/events?after=0&{query}")
        assert [each.data["task_id"] for each in seen] == ids, query
    async with service.stream(f"/v1/events?task_id={generated}") as stream:  # by the ring, too
        await service.manager.cancel("a1")
        await service.manager.cancel(generated)
        (only,) = await take(stream, 1)
        assert (only.data["task_id"], only.kind) == (generated, "cancelled")


async def test_an_idle_stream_shows_that_it_lives(tmp_path: Path, folder: Path) -> None:
    async with (
        Service(tmp_path / "w.db", folder, heartbeat=0.05) as service,
        service.stream() as events,
        service.stream("/v1/progress") as progress,
    ):
        async with asyncio.timeout(5):
            for stream in (events, progress):
                assert await anext(stream) == Said(None, "", None)
                assert await anext(stream) == Said(None, "", None)


async def test_whoever_falls_behind_reads_the_log_and_misses_nothing(
    service: Service, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Readers of any speed, while more happens than the ring holds."""
    monkeypatch.setattr(feed, "RING_EVENTS_MAX", 8)
    monkeypatch.setattr(feed, "CHUNK_BYTES", 700)
    total = 400
    chance = random.Random(7)

    starts = [0, 0, 3, 17]
    await service.manager.enqueue_all([task() for _ in range(max(starts))])

    async def write() -> None:
        written = max(starts)
        while written < total:
            many = min(chance.choice([1, 1, 2, 30]), total - written)
            await service.manager.enqueue_all([task() for _ in range(many)])
            written += many
            await asyncio.sleep(chance.choice([0, 0, 0.002, 0.01]))

    async def read(start: int, seed: int) -> list[int]:
        pace = random.Random(seed)
        seen: list[int] = []
        async with service.stream(f"/v1/events?after={start}") as stream:
            async for each in stream:
                seen.append(each.id or 0)
                if seen[-1] == total:
                    return seen
                await asyncio.sleep(pace.choice([0, 0, 0, 0.001, 0.005]))
        return seen

    async with asyncio.timeout(20):
        _, *read_all = await asyncio.gather(
            write(), *(read(start, seed) for seed, start in enumerate(starts))
        )
    for start, seen in zip(starts, read_all, strict=True):
        assert seen == list(range(start + 1, total + 1))


async def test_the_ring_is_bounded_by_bytes_as_well(
    service: Service, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(feed, "RING_BYTES_MAX", 2000)
    ring = feed.Feed(service.manager, heartbeat_s=10)
    ring.start()
    frames = ring.frames(EventsQuery())
    await anext(frames)
    while not ring._is_current:
        await asyncio.sleep(0)
    await service.manager.enqueue_all(
        [task("x" * 400) for _ in range(1)] + [task() for _ in range(50)]
    )
    while ring._last < 51:
        await asyncio.sleep(0)
    assert 0 < ring._ring_bytes <= 2000
    assert ring._ring_bytes == sum(len(entry.frame) for entry in ring._ring)
    assert ring._before == ring._ring[0].seq - 1
    await frames.aclose()
    await ring.close()


async def test_progress_only_grows_and_ends_at_a_hundred(service: Service, folder: Path) -> None:
    (folder / "large.bin").write_bytes(bytes(30_000_000))
    async with FlakyServer(bytes_per_s=40e6) as server, service.stream("/v1/progress") as stream:
        await service.enqueue(service.upload(server.url, folder / "large.bin"))
        percents: list[int] = []
        async with asyncio.timeout(10), aclosing(stream):  # type: ignore[type-var] # a generator
            async for each in stream:
                assert (each.kind, each.id) == ("progress", None)
                percents.append(each.data["percent"])
                if percents[-1] == 100:
                    break
    assert percents == sorted(set(percents))
    assert percents[0] == 0
    assert len(percents) > 2


async def test_streams_are_counted_and_a_place_comes_free(tmp_path: Path, folder: Path) -> None:
    async with Service(tmp_path / "w.db", folder, streams_max=2, heartbeat=0.02) as service:
        async with service.stream(), service.stream("/v1/progress"):
            refused = await service.ask("GET", "/v1/events")
            assert (refused.status, refused.body["code"]) == (503, "TOO_MANY_STREAMS")
            assert int(refused.headers["Retry-After"]) > 0
            assert (await service.ask("GET", "/v1/stats")).status == 200
        async with asyncio.timeout(5):
            while (await service.ask("GET", "/v1/events?follow=false")).status == 503:
                await asyncio.sleep(0.01)


async def test_a_client_that_never_reads_is_dropped_and_others_go_on(
    tmp_path: Path, folder: Path
) -> None:
    async with Service(tmp_path / "w.db", folder, stall_timeout=0.3, streams_max=2) as service:
        await service.manager.enqueue_all([task(f"{n}-{'x' * 480}") for n in range(12_000)])
        reader, writer = await asyncio.open_connection("127.0.0.1", service.port, limit=1024)
        writer.write(b"GET /v1/events?after=0 HTTP/1.1\r\nHost: x\r\n\r\n")
        assert await reader.readline() == b"HTTP/1.1 200 OK\r\n"
        async with service.stream("/v1/events?after=11990") as stream:
            assert [each.id for each in await take(stream, 10)] == list(range(11_991, 12_001))
            async with asyncio.timeout(10):  # until its place is free
                while (await service.ask("GET", "/v1/events?follow=false")).status == 503:
                    await asyncio.sleep(0.02)
            await service.manager.cancel(f"1-{'x' * 480}")
            assert [each.id for each in await take(stream, 1)] == [12_001]
        writer.transport.abort()


async def test_streams_end_with_the_service(tmp_path: Path, folder: Path) -> None:
    service = Service(tmp_path / "w.db", folder)
    async with service, service.session.get("/v1/events") as response:
        assert (await response.content.readline()).startswith(b"retry")
        assert service._runner is not None
        async with asyncio.timeout(5):
            await service._runner.cleanup()
            with contextlib.suppress(aiohttp.ClientError):
                while await response.content.readany():
                    pass
