"""Every address of the service, once: the routes and the OpenAPI document are made of this."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping
from typing import TYPE_CHECKING, Any, Final

import msgspec
from aiohttp import web

from outhaul.model import Stats, TaskEvent, TaskProgress, TaskRecord
from outhaul.service import named, specs

if TYPE_CHECKING:
    from outhaul.service.handlers import Handlers
    from outhaul.service.streams import Streams

JSON: Final = "application/json"

Respond = Callable[[web.Request], Awaitable[web.StreamResponse]]


class Operation(msgspec.Struct, frozen=True, kw_only=True):
    """What one method does at one address.

    Attributes:
        name: Its `operationId`, and the name of its route.
        answers: What comes with each status.
        refusals: Further statuses, each with problem details.
        is_stream: Whether the answer is a stream of these.
        is_public: Whether it is open to whoever asks.
    """

    name: str
    method: str
    path: str
    respond: Respond
    summary: str
    query: type[msgspec.Struct] = specs.NoQuery
    body: Any = None
    answers: Mapping[int, Any]
    refusals: tuple[int, ...] = ()
    is_stream: bool = False
    is_public: bool = False


def operations(handlers: Handlers, streams: Streams) -> list[Operation]:
    """All of them."""
    return [
        Operation(
            name="enqueue",
            method="POST",
            path="/v1/tasks",
            respond=handlers.enqueue,
            summary="Stores one task or many: all of them or none. When it answers, they are on "
            "disk and will be done. 200: live tasks had these ids, and were kept.",
            body=named.NewTask | list[named.NewTask],
            answers={
                200: specs.Scheduled | list[specs.Scheduled],
                201: specs.Scheduled | list[specs.Scheduled],
            },
            refusals=(400, 403, 408, 413, 415, 429, 507),
        ),
        Operation(
            name="list_tasks",
            method="GET",
            path="/v1/tasks",
            respond=handlers.list_tasks,
            summary="Tasks, oldest first, a page at a time.",
            query=specs.TasksQuery,
            answers={200: specs.Page},
        ),
        Operation(
            name="cancel_many",
            method="DELETE",
            path="/v1/tasks",
            respond=handlers.cancel_many,
            summary="Ends all live tasks with a tag, or all, for good.",
            query=specs.CancelQuery,
            answers={200: specs.Cancelled},
            refusals=(507,),
        ),
        Operation(
            name="show",
            method="GET",
            path="/v1/tasks/{id}",
            respond=handlers.show,
            summary="The newest task with that id.",
            answers={200: TaskRecord},
            refusals=(404,),
        ),
        Operation(
            name="cancel",
            method="DELETE",
            path="/v1/tasks/{id}",
            respond=handlers.cancel,
            summary="Ends the live task with that id, for good.",
            answers={200: specs.Cancelled},
            refusals=(404, 507),
        ),
        Operation(
            name="tags",
            method="GET",
            path="/v1/tags",
            respond=handlers.tags,
            summary="Every tag of a stored task, sorted.",
            answers={200: list[str]},
        ),
        Operation(
            name="stats",
            method="GET",
            path="/v1/stats",
            respond=handlers.stats,
            summary="How many tasks stand where.",
            answers={200: Stats},
        ),
        Operation(
            name="events",
            method="GET",
            path="/v1/events",
            respond=streams.events,
            summary="What happens to tasks, as server-sent events: `data` is a TaskEvent. After a "
            "break, Last-Event-ID goes on without a gap.",
            query=specs.EventsQuery,
            answers={200: TaskEvent},
            is_stream=True,
            refusals=(410,),
        ),
        Operation(
            name="progress",
            method="GET",
            path="/v1/progress",
            respond=streams.progress,
            summary="How far transfers are, as server-sent events: `data` is a TaskProgress, the "
            "latest of each.",
            query=specs.ProgressQuery,
            answers={200: TaskProgress},
            is_stream=True,
        ),
        Operation(
            name="health",
            method="GET",
            path="/healthz",
            respond=handlers.health,
            summary="Whether the process answers.",
            answers={200: specs.Health},
            is_public=True,
        ),
        Operation(
            name="ready",
            method="GET",
            path="/readyz",
            respond=handlers.ready,
            summary="Whether tasks are taken and done.",
            answers={200: specs.Health},
            is_public=True,
        ),
    ]


# What any request may be answered with: a parameter that means nothing, a host that is not ours, a
# store that cannot be read, a mistake of our own.
ALWAYS: Final = (421, 422, 500, 503)

# And where a token is wanted.
GUARDED: Final = (401,)
