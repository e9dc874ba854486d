"""The newest events, encoded once for all streams that keep up; who does not re-reads the log."""

from __future__ import annotations

import asyncio
import collections
import itertools
import logging
from contextlib import aclosing
from typing import TYPE_CHECKING, Final, NamedTuple, cast

import msgspec

from outhaul.errors import CursorPrunedError, OuthaulError, StoreError
from outhaul.service.pulse import Pulse

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator

    from outhaul.manager import WorkManager
    from outhaul.model import TaskEvent
    from outhaul.service.specs import EventsQuery

_LOG: Final = logging.getLogger("outhaul.service")

# What is kept in memory, whichever is reached first. The log has the rest.
RING_EVENTS_MAX: Final = 1024
RING_BYTES_MAX: Final = 4 * 1024 * 1024

# So much goes out in one write.
CHUNK_BYTES: Final = 64 * 1024

# Encoding yields to the event loop after this many events.
SLICE: Final = 64

# A store that cannot be read now is asked again so much later.
AGAIN_S: Final = 1.0

# How a stream begins: a browser comes back soon after a break, but not at once.
PROLOGUE: Final = b"retry: 2000\n\n"

# A comment: proxies and clients see that the connection lives.
HEARTBEAT: Final = b":\n\n"

_ENCODER: Final = msgspec.json.Encoder()


def frame_of(event: TaskEvent) -> bytes:
    """An event as a stream carries it. SOURCE: WHATWG HTML §9.2.5."""
    kind = event.kind.value.encode()
    return b"id: %d\nevent: %s\ndata: %s\n\n" % (event.seq, kind, _ENCODER.encode(event))


class _Entry(NamedTuple):
    seq: int
    tag: str | None
    task_id: str
    frame: bytes

    def is_wanted(self, want: EventsQuery) -> bool:
        return (
            (want.tag is None or want.tag == self.tag)
            and (want.task_id is None or want.task_id == self.task_id)
            and (want.prefix is None or self.task_id.startswith(want.prefix))
        )


class Feed:
    """Follows the log once, for every stream of the service, while there is one."""

    def __init__(self, manager: WorkManager, *, heartbeat_s: float) -> None:
        self._manager = manager
        self._heartbeat_s = heartbeat_s
        # INVARIANT: the ring holds every event after `_before`, up to `_last`; the log has all of
        # them, and may have more: many more, where the ring is not current.
        self._is_current = False
        self._ring: collections.deque[_Entry] = collections.deque()
        self._ring_bytes = 0
        self._before = 0
        self._last = 0
        self._beats = 0
        self._broken: OuthaulError | None = None
        self._readers = 0  # streams that follow the log
        self._is_read = asyncio.Event()  # whether there are any
        self._pulse = Pulse()
        self._work: list[asyncio.Task[None]] = []

    def start(self) -> None:
        """Follows from now on, as soon as somebody reads."""
        self._work = [asyncio.create_task(self._follow()), asyncio.create_task(self._beat())]

    async def close(self) -> None:
        """Ends following. Streams are ended by their holders."""
        for task in self._work:
            task.cancel()
        await asyncio.gather(*self._work, return_exceptions=True)

    async def frames(self, want: EventsQuery) -> AsyncGenerator[bytes]:
        """What a stream sends, in chunks, the first at once; heartbeats where nothing happens.

        Raises:
            CursorPrunedError: Some of what is wanted is gone, or the log ends before. At the first
                chunk, or later where the reader is slower than retention.
            OuthaulError: The log cannot be read.
        """
        self._check()
        self._readers += want.follow
        if self._readers > 0:
            self._is_read.set()
        try:
            async with aclosing(self._chunks(want)) as chunks:
                async for chunk in chunks:
                    yield chunk
        finally:
            self._readers -= want.follow
            if self._readers == 0:
                self._is_read.clear()

    async def _chunks(self, want: EventsQuery) -> AsyncGenerator[bytes]:
        cursor, chunk = want.after, PROLOGUE
        if cursor is None:
            cursor = (await self._manager.stats()).last_event
            # Said, so that a reader who is cut off before the first event misses none.
            chunk += b"id: %d\n\n" % cursor
        told, beats = cursor, self._beats
        while True:
            cursor, more = await self._read(cursor, want)
            chunk += more
            if chunk:
                yield chunk
                chunk = b""
                continue
            if not want.follow:
                return
            self._check()
            if cursor < self._last:  # of what there was, nothing was wanted
                continue
            if beats != self._beats:
                beats = self._beats
                # How far it was looked through is said, too: else a reader who wants little would
                # come back with a number that retention has long passed.
                yield HEARTBEAT if told == cursor else b":\nid: %d\n\n" % cursor
                told = cursor
            else:
                # Nothing has had the loop since all of this was looked at: no news are missed.
                await self._pulse.wait()

    def _check(self) -> None:
        if self._broken is not None:
            raise self._broken.with_traceback(None)  # else it would grow with each stream

    async def _read(self, cursor: int, want: EventsQuery) -> tuple[int, bytes]:
        """A chunk of what there is after a number, and how far it was looked through."""
        # Who wants the log up to its end gets what the ring may not have yet.
        is_in_ring = self._before <= cursor <= self._last
        if not is_in_ring or not self._is_current or not want.follow:
            return await self._from_log(cursor, want)
        return self._from_ring(cursor, want)

    async def _from_log(self, cursor: int, want: EventsQuery) -> tuple[int, bytes]:
        # Now: what is committed later may be missed by a page that was read before.
        last = max(cursor, self._last)
        frames: list[bytes] = []
        size = 0
        events = self._manager.events(
            after=cursor,
            tag=want.tag,
            task_id=want.task_id,
            prefix=want.prefix,
            skip_pruned=want.skip_pruned or want.after == 0,
            follow=False,
        )
        # Closed with each chunk: a stream that waits for its reader holds no page of events.
        async with aclosing(cast("AsyncGenerator[TaskEvent]", events)) as log:
            async for event in log:
                cursor = event.seq
                frames.append(frame_of(event))
                size += len(frames[-1])
                if size >= CHUNK_BYTES:
                    return cursor, b"".join(frames)
        return max(cursor, last), b"".join(frames)

    def _from_ring(self, cursor: int, want: EventsQuery) -> tuple[int, bytes]:
        # Backwards, since most streams have all but the last few.
        news = list(itertools.takewhile(lambda entry: entry.seq > cursor, reversed(self._ring)))
        frames: list[bytes] = []
        size = 0
        for entry in reversed(news):
            cursor = entry.seq
            if entry.is_wanted(want):
                frames.append(entry.frame)
                size += len(entry.frame)
                if size >= CHUNK_BYTES:
                    break
        return cursor, b"".join(frames)

    async def _begin(self) -> None:
        """Empties the ring: it begins at the end of the log."""
        last = (await self._manager.stats()).last_event
        self._ring.clear()
        self._ring_bytes = 0
        self._before = self._last = last
        self._is_current = True
        self._pulse.wake()

    async def _follow(self) -> None:
        """Keeps the ring up while somebody reads. If the log is lost, every stream ends."""
        while self._broken is None:
            await self._is_read.wait()
            try:
                if not self._is_current:
                    await self._begin()
                await self._keep_up()
                self._is_current = False  # until somebody reads again
            except CursorPrunedError:  # retention was faster; streams ask the log what is left
                self._is_current = False
            except StoreError as error:
                _LOG.warning("the log cannot be followed now: %s", error)
                await asyncio.sleep(AGAIN_S)
            except OuthaulError as error:
                _LOG.warning("the log cannot be followed any more: %s", error)
                self._broken = error
                self._pulse.wake()

    async def _keep_up(self) -> None:
        """Until nobody reads any more, which is noticed at the next event."""
        events = self._manager.events(after=self._last)
        async with aclosing(cast("AsyncGenerator[TaskEvent]", events)) as log:
            async for event in log:
                if not self._is_read.is_set():
                    return
                self._take(event)
                if event.seq % SLICE == 0:
                    await asyncio.sleep(0)

    def _take(self, event: TaskEvent) -> None:
        entry = _Entry(event.seq, event.tag, event.task_id, frame_of(event))
        self._ring.append(entry)
        self._ring_bytes += len(entry.frame)
        self._last = entry.seq
        while len(self._ring) > RING_EVENTS_MAX or self._ring_bytes > RING_BYTES_MAX:
            oldest = self._ring.popleft()
            self._ring_bytes -= len(oldest.frame)
            self._before = oldest.seq
        self._pulse.wake()

    async def _beat(self) -> None:
        while True:
            await asyncio.sleep(self._heartbeat_s)
            self._beats += 1
            self._pulse.wake()
