"""The newest events, encoded once for all streams that keep up; who does not re-reads the log."""

from __future__ import annotations

import asyncio
import collections
import itertools
import logging
from typing import TYPE_CHECKING, Final, NamedTuple

import msgspec

from outhaul.errors import OuthaulError

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
    """Follows the log once, for every stream of the service."""

    def __init__(self, manager: WorkManager, *, heartbeat_s: float) -> None:
        self._manager = manager
        self._heartbeat_s = heartbeat_s
        # INVARIANT: the ring holds every event after `_before`, up to `_last`.
        self._ring: collections.deque[_Entry] = collections.deque()
        self._ring_bytes = 0
        self._before = 0
        self._last = 0
        self._beats = 0
        self._is_over = False
        self._pulse = asyncio.Event()
        self._work: list[asyncio.Task[None]] = []

    async def start(self) -> None:
        """Begins to follow, at the end of the log."""
        self._before = self._last = (await self._manager.stats()).last_event
        self._work = [asyncio.create_task(self._follow()), asyncio.create_task(self._beat())]

    async def close(self) -> None:
        """Ends following. Streams are ended by whoever holds them."""
        for task in self._work:
            task.cancel()
        await asyncio.gather(*self._work, return_exceptions=True)

    async def frames(self, want: EventsQuery) -> AsyncGenerator[bytes]:
        """What a stream sends, in chunks; heartbeats where nothing happens."""
        cursor = self._last if want.after is None else want.after
        if not want.follow:  # the log itself: the ring may be a moment behind it
            async for _, chunk in self._from_log(cursor, want):
                yield chunk
            return
        beats = self._beats
        while True:
            if cursor < self._before:
                last = self._last
                async for seen, chunk in self._from_log(cursor, want):
                    yield chunk
                    last = max(last, seen)
                cursor = last
            else:
                cursor, chunk = self._from_ring(cursor, want)
                if chunk:
                    yield chunk
            if cursor < self._last:
                continue
            if self._is_over:
                return
            if beats != self._beats:
                beats = self._beats
                yield HEARTBEAT
            if cursor >= self._last:  # still so, after what was yielded
                await self._pulse.wait()

    async def _from_log(self, cursor: int, want: EventsQuery) -> AsyncGenerator[tuple[int, bytes]]:
        """All that the log has after a number, and the number of the last of each chunk."""
        frames: list[bytes] = []
        size = seq = 0
        async for event in self._manager.events(
            after=cursor, tag=want.tag, task_id=want.task_id, prefix=want.prefix, follow=False
        ):
            seq = event.seq
            frames.append(frame_of(event))
            size += len(frames[-1])
            if size >= CHUNK_BYTES:
                yield seq, b"".join(frames)
                frames, size = [], 0
        if frames:
            yield seq, b"".join(frames)

    def _from_ring(self, cursor: int, want: EventsQuery) -> tuple[int, bytes]:
        """A chunk of what the ring has after a number, and how far it was looked through."""
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

    async def _follow(self) -> None:
        """Keeps the ring up. If the log cannot be read any more, every stream ends."""
        try:
            await self._keep_up()
        except OuthaulError as error:
            _LOG.error("the log cannot be followed: %s", error)
            self._is_over = True
            self._wake()

    async def _keep_up(self) -> None:
        async for event in self._manager.events(after=self._last):
            entry = _Entry(event.seq, event.tag, event.task_id, frame_of(event))
            self._ring.append(entry)
            self._ring_bytes += len(entry.frame)
            self._last = entry.seq
            while len(self._ring) > RING_EVENTS_MAX or self._ring_bytes > RING_BYTES_MAX:
                oldest = self._ring.popleft()
                self._ring_bytes -= len(oldest.frame)
                self._before = oldest.seq
            self._wake()

    async def _beat(self) -> None:
        while True:
            await asyncio.sleep(self._heartbeat_s)
            self._beats += 1
            self._wake()

    def _wake(self) -> None:
        """Wakes every stream that waits; who comes later waits for the next time."""
        self._pulse.set()
        self._pulse.clear()
