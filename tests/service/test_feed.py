"""The feed over a log that a test writes: every turn of the loop is the test's own."""

from __future__ import annotations

import asyncio
import contextlib
import random
from collections.abc import AsyncGenerator, AsyncIterator
from contextlib import aclosing
from typing import Any, cast

import msgspec
import pytest

from outhaul import EventKind, Stats, TaskEvent, WorkManager
from outhaul.errors import CursorPrunedError, InternalError, OuthaulError, StoreFullError
from outhaul.service import feed
from outhaul.service.feed import PROLOGUE, Feed
from outhaul.service.specs import EventsQuery

NEVER_S = 1e6
ALL = EventsQuery(after=0)


class Log:
    """What a feed asks of a manager. `fails` is raised by the next who follow."""

    def __init__(self) -> None:
        self.events_: list[TaskEvent] = []
        self.pruned = 0
        self.fails: list[OuthaulError] = []
        self.followers = 0
        self._grew = asyncio.Event()

    def write(self, *tags: str) -> None:
        for tag in tags:
            seq = len(self.events_) + 1
            event = TaskEvent(
                seq=seq, at_ms=0, kind=EventKind.ENQUEUED, task_id=f"t{seq}", key=seq, tag=tag
            )
            self.events_.append(event)
        self._grew.set()
        self._grew.clear()

    def fail(self, error: OuthaulError) -> None:
        self.fails.append(error)
        self._grew.set()
        self._grew.clear()

    async def stats(self) -> Stats:
        await asyncio.sleep(0)
        return Stats(last_event=len(self.events_))

    async def events(
        self, *, after: int, tag: str | None = None, follow: bool = True, **_: object
    ) -> AsyncIterator[TaskEvent]:
        self.followers += follow
        while True:
            await asyncio.sleep(0)
            if follow and self.fails:
                raise self.fails.pop()
            if 0 < after < self.pruned:
                raise CursorPrunedError
            page = [
                event for event in self.events_[after:] if tag is None or event.tag == tag
            ][:5]  # fmt: skip
            if not page and not follow:
                return
            after = page[-1].seq if len(page) == 5 else len(self.events_)
            for event in page:
                yield event
            if not page:
                await self._grew.wait()


@pytest.fixture
def log() -> Log:
    return Log()


@contextlib.asynccontextmanager
async def fed_by(log: object, *, heartbeat_s: float = NEVER_S) -> AsyncIterator[Feed]:
    fed = Feed(cast("WorkManager", log), heartbeat_s=heartbeat_s)
    fed.start()
    yield fed
    await fed.close()


@pytest.fixture
async def fed(log: Log) -> AsyncIterator[Feed]:
    async with fed_by(log) as fed:
        yield fed


async def turns(number: int) -> None:
    for _ in range(number):
        await asyncio.sleep(0)


async def until(fed: Feed, last: int) -> None:
    async with asyncio.timeout(5):
        while fed._last < last:
            await asyncio.sleep(0)


def numbers(chunk: bytes) -> list[int]:
    """The events in a chunk, each with its whole frame."""
    found = []
    for block in chunk.removeprefix(PROLOGUE).split(b"\n\n")[:-1]:
        fields = dict(line.partition(b": ")[::2] for line in block.split(b"\n"))
        if b"data" in fields:
            event = msgspec.json.decode(fields[b"data"], type=TaskEvent)
            assert fields[b"id"] == b"%d" % event.seq
            found.append(event.seq)
    return found


async def read(
    frames: AsyncGenerator[bytes], last: int, pace: random.Random | None = None
) -> list[int]:
    seen: list[int] = []
    async with aclosing(frames):
        async for chunk in frames:
            seen += numbers(chunk)
            if seen[-1:] == [last]:
                break
            await turns(0 if pace is None else pace.choice([0, 0, 1, 4, 20]))
    return seen


@pytest.mark.parametrize("seed", range(8))
async def test_each_reader_gets_all_it_wants_once_and_in_order(
    fed: Feed, log: Log, monkeypatch: pytest.MonkeyPatch, seed: int
) -> None:
    """No heartbeat comes to the rescue of who misses a wake-up: it would wait for ever."""
    chance = random.Random(seed)
    monkeypatch.setattr(feed, "RING_EVENTS_MAX", chance.choice([1, 3, 8, 1000]))
    monkeypatch.setattr(feed, "CHUNK_BYTES", chance.choice([1, 500, 100_000]))
    monkeypatch.setattr(feed, "SLICE", chance.choice([1, 7, 64]))
    tags = [*chance.choices("abc", k=300), "a", "c"]
    expected: list[list[int]] = []
    readings: list[asyncio.Task[list[int]]] = []

    def begin(after: int) -> None:
        tag = chance.choice([None, "a", "c"])
        wanted = [at for at, each in enumerate(tags, 1) if at > after and tag in {None, each}]
        frames = fed.frames(EventsQuery(after=after, tag=tag))
        pace = random.Random(len(readings))
        expected.append(wanted)
        readings.append(asyncio.create_task(read(frames, wanted[-1], pace)))

    written = 0
    while written < len(tags):
        some = tags[written : written + chance.choice([0, 1, 1, 2, 30])]
        log.write(*some)
        written += len(some)
        await turns(chance.choice([0, 0, 1, 5]))
        if written < 300 and len(readings) < 40:
            begin(chance.choice([0, written // 2, written]))
    async with asyncio.timeout(10):
        assert await asyncio.gather(*readings) == expected


async def test_who_wants_the_log_up_to_its_end_gets_what_the_feed_has_not_seen(
    fed: Feed, log: Log
) -> None:
    log.write("a", "b", "a")  # in this turn: the feed has had no time
    assert fed._last == 0
    want = EventsQuery(after=0, follow=False)
    assert [n for chunk in [c async for c in fed.frames(want)] for n in numbers(chunk)] == [1, 2, 3]
    await turns(20)
    assert log.followers == 0  # for this reader nobody has to


async def test_a_reader_that_begins_now_is_told_where_now_is(fed: Feed, log: Log) -> None:
    log.write("a", "b")
    frames = fed.frames(EventsQuery())
    assert await anext(frames) == PROLOGUE + b"id: 2\n\n"
    log.write("a")
    assert numbers(await anext(frames)) == [3]
    await frames.aclose()


async def test_a_heartbeat_tells_how_far_the_log_was_looked_through(log: Log) -> None:
    """Else who waits for something rare comes back with a number that is long gone."""
    async with fed_by(log, heartbeat_s=0.01) as fed:
        frames = fed.frames(EventsQuery(after=0, tag="rare"))
        assert await anext(frames) == PROLOGUE
        log.write("a", "a", "a")
        await until(fed, 3)
        assert await anext(frames) == b":\nid: 3\n\n"
        assert await anext(frames) == b":\n\n"
        log.write("rare")
        await until(fed, 4)
        chunk = await anext(frames)
        while chunk == b":\n\n":
            chunk = await anext(frames)
        assert numbers(chunk) == [4]
        await frames.aclose()


async def test_what_is_gone_is_said_before_the_stream_begins(fed: Feed, log: Log) -> None:
    log.write(*"abcdef")
    log.pruned = 4
    with pytest.raises(CursorPrunedError):
        await anext(fed.frames(EventsQuery(after=3, follow=False)))
    assert numbers(await anext(fed.frames(EventsQuery(after=4, follow=False)))) == [5, 6]


async def test_a_feed_that_retention_overtakes_begins_anew(fed: Feed, log: Log) -> None:
    keeps_up, is_behind = fed.frames(EventsQuery(after=0)), fed.frames(EventsQuery(after=0))
    assert await anext(keeps_up) == await anext(is_behind) == PROLOGUE
    log.write("a")
    assert numbers(await anext(keeps_up)) == [1]
    assert numbers(await anext(is_behind)) == [1]
    log.pruned = 5
    log.write(*"abcdefg")
    for frames in (keeps_up, is_behind):  # both missed something: they are told
        with pytest.raises(CursorPrunedError):
            await anext(frames)
    log.write("z")
    assert numbers(await anext(fed.frames(EventsQuery(after=7)))) == [8, 9]


async def test_the_log_is_followed_only_while_somebody_reads(fed: Feed, log: Log) -> None:
    for times in range(1, 4):
        log.write("a")
        await turns(20)
        assert log.followers == times - 1
        before, last = len(log.events_), len(log.events_) + 2
        first, second = (asyncio.create_task(read(fed.frames(ALL), last)) for _ in range(2))
        await turns(20)
        log.write("a", "a")
        async with asyncio.timeout(5):
            assert await first == await second == list(range(1, last + 1))
        log.write("a")  # by which it sees that nobody reads any more
        await turns(20)
        assert (log.followers, fed._before, fed._last) == (times, before, last)


async def test_a_store_that_cannot_be_read_for_a_while_costs_no_event(
    fed: Feed, log: Log, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(feed, "AGAIN_S", 0.01)
    frames = fed.frames(ALL)
    assert await anext(frames) == PROLOGUE
    await turns(5)
    log.fail(StoreFullError())
    await turns(5)
    log.write("a", "b")
    async with asyncio.timeout(5):
        assert numbers(await anext(frames)) == [1, 2]
    assert log.followers == 2
    await frames.aclose()


async def test_when_the_core_is_broken_every_stream_ends(fed: Feed, log: Log) -> None:
    streams = [fed.frames(ALL) for _ in range(3)]
    for frames in streams:
        assert await anext(frames) == PROLOGUE
    waiting: list[asyncio.Future[Any]] = [asyncio.ensure_future(anext(each)) for each in streams]
    await turns(5)
    log.fail(InternalError())
    for each in await asyncio.gather(*waiting, return_exceptions=True):
        assert isinstance(each, InternalError)
