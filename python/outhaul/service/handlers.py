"""What each request does: ask the manager, render the answer."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Final

import msgspec
from aiohttp import web

from outhaul.errors import OuthaulError, TaskNotFoundError
from outhaul.model import ScheduleResult
from outhaul.service import specs
from outhaul.service.problems import Refused
from outhaul.service.specs import (
    Cancelled,
    CancelQuery,
    Health,
    NoQuery,
    Page,
    Scheduled,
    TasksQuery,
    query,
)

if TYPE_CHECKING:
    from collections.abc import Container

    from outhaul.manager import WorkManager

# A store that takes longer to answer is not ready.
READY_TIMEOUT_S: Final = 2.0

# A client that takes longer to say what it wants does not mean to.
BODY_TIMEOUT_S: Final = 30.0

# Checking yields to the event loop after this many tasks.
SLICE: Final = 128

_ENCODER: Final = msgspec.json.Encoder()


class Handlers:
    """The requests that are answered at once; `streams` has the others."""

    def __init__(self, manager: WorkManager, secrets: Container[tuple[str, str]]) -> None:
        self._manager = manager
        self._secrets = secrets
        self.is_draining = False

    async def enqueue(self, request: web.Request) -> web.Response:
        """Stores one task or many: all of them or none."""
        query(request.query, NoQuery)
        new, is_list = specs.tasks(await _body(request))
        if not new:
            return _json([])
        wanted = []
        for at, each in enumerate(new):
            place = f"tasks[{at}]." if is_list else ""
            wanted.append(specs.task(each, place, secrets=self._secrets))
            if at % SLICE == SLICE - 1:
                await asyncio.sleep(0)
        if is_list:
            handles = await self._manager.enqueue_all(wanted)
        else:  # which crosses with those of other requests
            handles = [await self._manager.enqueue_task(wanted[0])]
        told = [
            Scheduled(task_id=each.task_id, key=each.key, schedule_result=each.schedule_result)
            for each in handles
        ]
        accepted = any(each.schedule_result is ScheduleResult.ACCEPTED for each in told)
        response = _json(told if is_list else told[0], status=201 if accepted else 200)
        if not is_list:
            here = request.rel_url.raw_path
            response.headers["Location"] = f"{here}/{specs.path_of(told[0].task_id)}"
        return response

    async def list_tasks(self, request: web.Request) -> web.Response:
        """A page of tasks."""
        want = query(request.query, TasksQuery)
        found = await self._manager.list_tasks(
            statuses=want.status,
            tag=want.tag,
            prefix=want.prefix,
            after=want.cursor,
            limit=want.limit,
        )
        more = str(found[-1].key) if len(found) == want.limit else None
        return _json(Page(tasks=found, next=more))

    async def show(self, request: web.Request) -> web.Response:
        """One task."""
        query(request.query, NoQuery)
        task_id = request.match_info["id"]
        record = await self._manager.get_task(task_id)
        if record is None:
            raise TaskNotFoundError(f"no task {task_id!r}")
        return _json(record)

    async def cancel(self, request: web.Request) -> web.Response:
        """Ends one task for good."""
        query(request.query, NoQuery)
        task_id = request.match_info["id"]
        if not await self._manager.cancel(task_id):
            raise TaskNotFoundError(f"no live task {task_id!r}")
        return _json(Cancelled(cancelled=1))

    async def cancel_many(self, request: web.Request) -> web.Response:
        """Ends tasks for good."""
        want = query(request.query, CancelQuery)
        if want.all == (want.tag is not None):
            raise Refused(
                422, "INVALID_ARGUMENT", "say which: give a tag, or all=true", field="tag"
            )
        if want.tag is None:
            return _json(Cancelled(cancelled=await self._manager.cancel_all()))
        return _json(Cancelled(cancelled=await self._manager.cancel_by_tag(want.tag)))

    async def tags(self, request: web.Request) -> web.Response:
        """Every tag."""
        query(request.query, NoQuery)
        return _json(await self._manager.all_tags())

    async def stats(self, request: web.Request) -> web.Response:
        """How many tasks stand where."""
        query(request.query, NoQuery)
        return _json(await self._manager.stats())

    async def health(self, _: web.Request) -> web.Response:
        """Whether the process answers."""
        return _json(Health(status="ok"))

    async def ready(self, _: web.Request) -> web.Response:
        """Whether tasks are taken and done."""
        if self.is_draining:
            raise Refused(503, "DRAINING", "the service finishes what runs, and ends")
        try:
            async with asyncio.timeout(READY_TIMEOUT_S):
                await self._manager.get_task("")
        except (OuthaulError, TimeoutError) as error:
            raise Refused(503, "NOT_READY", f"the store does not answer: {error}") from error
        return _json(Health(status="ready"))


async def _body(request: web.Request) -> bytes:
    """All of it, bounded in size and in time.

    aiohttp's own bound is that of the application which this one may be a part of.
    """
    body = bytearray()
    try:
        async with asyncio.timeout(BODY_TIMEOUT_S):
            async for part in request.content.iter_any():
                body += part
                if len(body) > specs.BODY_BYTES_MAX:
                    raise web.HTTPRequestEntityTooLarge(specs.BODY_BYTES_MAX, len(body))
            return bytes(body)
    except TimeoutError:
        said = f"the body was not there within {BODY_TIMEOUT_S:g} s"
        raise Refused(408, "REQUEST_TIMEOUT", said, headers={"Connection": "close"}) from None
    except (web.RequestPayloadError, ConnectionError):  # few will read the answer
        said = "the body broke off, or is not encoded as it says"
        raise Refused(400, "MALFORMED", said, headers={"Connection": "close"}) from None


def _json(value: object, *, status: int = 200) -> web.Response:
    return web.Response(status=status, body=_ENCODER.encode(value), content_type="application/json")
