"""The feed's bounds: what goes out at once, what is kept, how long a turn of the loop is."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncGenerator, AsyncIterator

import pytest
from tests.service.test_feed import ALL, Log, fed_by, numbers, until

from outhaul import Stats, TaskEvent
from outhaul.errors import InternalError
from outhaul.service import feed
from outhaul.service.feed import PROLOGUE, Feed, frame_of
from outhaul.service.specs import EventsQuery

CHUNK_BYTES = 700


async def is_current(fed: Feed) -> None:
    async with asyncio.timeout(5):
        while not fed._is_current:
            await asyncio.sleep(0)


async def chunks_up_to(frames: AsyncGenerator[bytes], last: int) -> list[bytes]:
    chunks: list[bytes] = []
    async with asyncio.timeout(5):
        while not chunks or numbers(chunks[-1])[-1:] != [last]:
            chunks.append(await anext(frames))
    return chunks


async def test_a_chunk_is_bounded_whether_of_the_log_or_of_the_ring(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(feed, "CHUNK_BYTES", CHUNK_BYTES)
    log = Log()
    async with fed_by(log) as fed:
        log.write(*"a" * 50)
        bound = CHUNK_BYTES + len(PROLOGUE) + len(frame_of(log.events_[-1]))
        frames = fed.frames(ALL)
        of_the_log = await chunks_up_to(frames, 50)
        await is_current(fed)
        log.write(*"a" * 50)
        await until(fed, 100)
        of_the_ring = await chunks_up_to(frames, 100)
        for chunks, first in ((of_the_log, 1), (of_the_ring, 51)):
            assert [seq for each in chunks for seq in numbers(each)] == list(
                range(first, first + 50)
            )
            assert max(map(len, chunks)) < bound
        await frames.aclose()


@contextlib.asynccontextmanager
async def with_fifty_events(log: Log) -> AsyncIterator[Feed]:
    """Written while somebody follows, so that they are in the ring."""
    async with fed_by(log) as fed, contextlib.aclosing(fed.frames(EventsQuery())) as frames:
        await anext(frames)
        await is_current(fed)
        log.write(*"a" * 50)
        await until(fed, 50)
        yield fed


async def test_the_ring_holds_so_many_events_and_no_more(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(feed, "RING_EVENTS_MAX", 8)
    async with with_fifty_events(Log()) as fed:
        assert [entry.seq for entry in fed._ring] == list(range(43, 51))


async def test_the_ring_holds_so_many_bytes_and_no_more(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(feed, "RING_BYTES_MAX", 1000)
    log = Log()
    async with with_fifty_events(log) as fed:
        held = sum(len(entry.frame) for entry in fed._ring)
        assert 1000 - len(frame_of(log.events_[-1])) < held <= 1000


async def test_who_wants_the_log_up_to_its_end_gets_what_the_ring_has_not_yet() -> None:
    """Although somebody follows, so that the ring is in use."""
    log = Log()
    async with fed_by(log) as fed:
        follows = fed.frames(EventsQuery())
        await anext(follows)
        await is_current(fed)
        log.write("a", "b")  # in this turn: the feed has had no time
        up_to_its_end = fed.frames(EventsQuery(after=0, follow=False))
        seen = [seq async for chunk in up_to_its_end for seq in numbers(chunk)]
        assert seen == [1, 2]
        await follows.aclose()


class Eager(Log):
    """A log that has all its events at hand: whoever reads it waits for nothing."""

    async def stats(self) -> Stats:
        return Stats(last_event=0)

    async def events(self, **_: object) -> AsyncIterator[TaskEvent]:
        for event in self.events_:
            yield event
        await asyncio.Event().wait()


async def test_however_much_there_is_the_loop_has_its_turns() -> None:
    log = Eager()
    log.write(*"a" * 1000)
    turns = 0
    async with fed_by(log) as fed:
        fed._is_read.set()
        async with asyncio.timeout(5):
            while fed._last < 1000:
                turns += 1
                await asyncio.sleep(0)
    assert turns >= 1000 // feed.SLICE


async def test_the_same_error_for_many_streams_keeps_its_length() -> None:
    log = Log()
    async with fed_by(log) as fed:
        first = fed.frames(ALL)
        await anext(first)
        waiting = asyncio.ensure_future(anext(first))
        await is_current(fed)
        log.fail(InternalError("a thread ended"))
        with pytest.raises(InternalError):
            await waiting
        lengths = set()
        for _ in range(5):
            with pytest.raises(InternalError) as raised:
                await anext(fed.frames(ALL))
            lengths.add(len(raised.traceback))
    assert len(lengths) == 1
