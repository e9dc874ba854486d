"""Server-sent events: what happens, and how far transfers are. SOURCE: WHATWG HTML §9.2."""

from __future__ import annotations

import asyncio
import logging
from contextlib import aclosing
from typing import TYPE_CHECKING, Final, cast

import msgspec
from aiohttp import web

from outhaul.errors import ManagerClosedError, OuthaulError
from outhaul.model import SEQ_MAX
from outhaul.service.feed import HEARTBEAT, PROLOGUE
from outhaul.service.problems import TOO_MANY_STREAMS, Refused
from outhaul.service.specs import EventsQuery, ProgressQuery, query

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator

    from outhaul.manager import WorkManager
    from outhaul.model import TaskProgress
    from outhaul.service.feed import Feed

CONTENT_TYPE: Final = "text/event-stream"
_HEADERS: Final = {"Cache-Control": "no-store", "X-Accel-Buffering": "no"}

_LOG: Final = logging.getLogger("outhaul.service")
_ENCODER: Final = msgspec.json.Encoder()


class Streams:
    """The streams under way: a bounded number, none of which waits forever for its reader."""

    def __init__(
        self,
        manager: WorkManager,
        feed: Feed,
        *,
        streams_max: int,
        heartbeat_s: float,
        stall_timeout_s: float,
    ) -> None:
        self._manager = manager
        self._feed = feed
        self._streams_max = streams_max
        self._heartbeat_s = heartbeat_s
        self._stall_timeout_s = stall_timeout_s
        self._open: set[asyncio.Task[None]] = set()
        self._is_closed = False

    async def close(self, _: web.Application) -> None:
        """Ends every stream: its client comes back, here or elsewhere, where it was."""
        self._is_closed = True
        for task in self._open:
            task.cancel()

    async def events(self, request: web.Request) -> web.StreamResponse:
        """The log, from a number on."""
        want = query(request.query, EventsQuery)
        seen = request.headers.get("Last-Event-ID")
        if seen is not None:
            want = msgspec.structs.replace(want, after=_number(seen))
        return await self._send(request, self._feed.frames(want))

    async def progress(self, request: web.Request) -> web.StreamResponse:
        """How far transfers are: the latest of each."""
        want = query(request.query, ProgressQuery)
        return await self._send(request, self._progress(want))

    async def _send(
        self, request: web.Request, frames: AsyncGenerator[bytes]
    ) -> web.StreamResponse:
        if self._is_closed:
            raise Refused(503, "CLOSED", "the service ends")
        if len(self._open) >= self._streams_max:
            said = f"{self._streams_max} streams are open, which is the bound: try later"
            raise Refused(503, TOO_MANY_STREAMS, said)
        task = asyncio.current_task()
        assert task is not None
        self._open.add(task)
        response = web.StreamResponse(headers=_HEADERS)
        response.content_type = CONTENT_TYPE
        try:
            async with aclosing(frames):
                async for chunk in frames:
                    # Only now: what is refused is refused before the first.
                    if not response.prepared:
                        await response.prepare(request)
                    await self._write(response, request, chunk)
        except ConnectionError as error:  # the client has left, or was dropped
            _LOG.info("%s: %s", request.path, error)
        except OuthaulError as error:
            if not response.prepared:
                raise
            _LOG.warning("%s: %s", request.path, error)
            _cut(request)
        except Exception:
            if not response.prepared:
                raise
            _LOG.exception("%s", request.path)
            _cut(request)
        finally:
            self._open.discard(task)
        return response

    async def _write(
        self, response: web.StreamResponse, request: web.Request, chunk: bytes
    ) -> None:
        """Hands a chunk to a client, which is dropped if it takes nothing for too long."""
        try:
            async with asyncio.timeout(self._stall_timeout_s):
                await response.write(chunk)
        except TimeoutError:
            if request.transport is not None:
                request.transport.abort()
            raise ConnectionResetError("the client has stopped reading") from None

    async def _progress(self, want: ProgressQuery) -> AsyncGenerator[bytes]:
        if not self._manager.is_open:
            raise ManagerClosedError
        yield PROLOGUE
        updates = self._manager.progress(task_id=want.task_id, tag=want.tag)
        async with aclosing(cast("AsyncGenerator[TaskProgress]", updates)) as updates:
            news = None
            try:
                while True:
                    news = news or asyncio.ensure_future(anext(updates))
                    done, _ = await asyncio.wait({news}, timeout=self._heartbeat_s)
                    if done:
                        yield b"event: progress\ndata: %s\n\n" % _ENCODER.encode(news.result())
                        news = None
                    else:
                        yield HEARTBEAT
            finally:
                if news is not None:
                    news.cancel()
                    await asyncio.gather(news, return_exceptions=True)


def _cut(request: web.Request) -> None:
    """Ends a stream so that its client sees that more was to come."""
    if request.transport is not None:
        request.transport.close()


def _number(last_event_id: str) -> int:
    """A cursor as a client gives it back. Digits only: nothing else was ever given out."""
    is_number = last_event_id.isascii() and last_event_id.isdigit()
    if is_number and len(last_event_id) <= len(str(SEQ_MAX)):
        number = int(last_event_id)
        if number <= SEQ_MAX:
            return number
    raise Refused(422, "INVALID_ARGUMENT", "it is no number of an event", field="Last-Event-ID")
