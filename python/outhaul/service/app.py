"""The service as an aiohttp application: by itself, or mounted in a user's own."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final, get_args

import msgspec
from aiohttp import web

from outhaul.arguments import boolean, duration_ms, integer, several, text, wrong_type
from outhaul.errors import InvalidArgumentError
from outhaul.manager import WorkManager
from outhaul.service.access import guard
from outhaul.service.feed import Feed
from outhaul.service.handlers import Handlers
from outhaul.service.openapi import document
from outhaul.service.problems import problems
from outhaul.service.routes import JSON, operations
from outhaul.service.streams import Streams
from outhaul.wire import SecretSource

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable, Collection, Iterable
    from datetime import timedelta

    from outhaul.service.routes import Respond

HANDLERS: Final = web.AppKey("outhaul.handlers", Handlers)

_SOURCES: Final = get_args(SecretSource)
_OPENAPI: Final = "openapi"
_OPENAPI_PATH: Final = "/openapi.json"


def create_app(
    manager: WorkManager,
    *,
    token: str | None = None,
    allow_secrets: Iterable[str] = (),
    hosts: Collection[str] | None = None,
    trusted: bool = False,
    heartbeat: timedelta | float = 15.0,
    stall_timeout: timedelta | float = 30.0,
    streams_max: int = 1000,
) -> web.Application:
    """The HTTP face of a manager: `web.run_app(create_app(manager))`, or `add_subapp`.

    A manager that is not open is opened and closed with the application.

    Args:
        manager: What does the work.
        token: What clients have to send as `Authorization: Bearer …`; at least 16 characters.
        allow_secrets: The secrets that a task may name: `env:API_TOKEN`, `file:/run/key`,
            `provider:name`; a name alone is an environment variable. None by default.
        hosts: The names in a `Host` header that are answered; any by default.
        trusted: Whether clients may do whatever this program may. Else the manager must have
            `allowed_roots` and a strict `address_policy`.
        heartbeat: How often a stream shows that it lives: a timedelta or seconds.
        stall_timeout: After how long a client is dropped that does not read its stream.
        streams_max: At most so many streams at once.

    Raises:
        InvalidArgumentError: The manager would send any file, or to any address; or a value that
            means nothing here.
        InvalidTypeError: A wrong type.
    """
    if not isinstance(manager, WorkManager):
        raise wrong_type("manager", manager, "a WorkManager")
    if not boolean("trusted", trusted):
        _check(manager)
    if hosts is not None:
        hosts = [text("hosts", host) for host in several("hosts", hosts, "names")]
    secrets = several("allow_secrets", allow_secrets, "names")
    handlers = Handlers(manager, frozenset(map(_secret, secrets)))
    heartbeat_s = duration_ms("heartbeat", heartbeat, least_ms=1) / 1000
    feed = Feed(manager, heartbeat_s=heartbeat_s)
    streams = Streams(
        manager,
        feed,
        streams_max=integer("streams_max", streams_max, least=1, most=100_000),
        heartbeat_s=heartbeat_s,
        stall_timeout_s=duration_ms("stall_timeout", stall_timeout, least_ms=1) / 1000,
    )
    known = operations(handlers, streams)
    public = {_OPENAPI, *(operation.name for operation in known if operation.is_public)}
    app = web.Application(middlewares=[problems, guard(token, hosts, public=public)])
    for operation in known:
        # Also an id with braces, which aiohttp leaves out by default.
        path = operation.path.replace("{id}", "{id:[^/]+}")
        app.router.add_route(operation.method, path, operation.respond, name=operation.name)
        if operation.is_public:  # what watches a service often wants the status alone
            app.router.add_route("HEAD", path, operation.respond, name=operation.name)
    said = _openapi(document(known, has_token=token is not None))
    app.router.add_route("GET", _OPENAPI_PATH, said, name=_OPENAPI)
    app[HANDLERS] = handlers
    app.cleanup_ctx.append(_lifetime(manager, feed))
    app.on_shutdown.append(streams.close)
    return app


def _openapi(said: dict[str, Any]) -> Respond:
    async def respond(request: web.Request) -> web.StreamResponse:
        here = request.rel_url.raw_path.removesuffix(_OPENAPI_PATH) or "/"
        body = msgspec.json.encode({**said, "servers": [{"url": here}]})
        return web.Response(body=body, content_type=JSON)

    return respond


def _lifetime(manager: WorkManager, feed: Feed) -> Callable[[web.Application], AsyncIterator[None]]:
    """Opens the manager, unless it is open, and closes it again."""

    async def work(_: web.Application) -> AsyncIterator[None]:
        opened = not manager.is_open
        if opened:
            await manager.__aenter__()
        try:
            feed.start()
            yield
            await feed.close()
        finally:
            if opened:
                await manager.close()

    return work


def _check(manager: WorkManager) -> None:
    if not manager.allowed_roots:
        raise InvalidArgumentError(
            "lets any file be sent: open it with allowed_roots=[...], or say trusted=True",
            argument="manager",
        )
    if not manager.address_policy.is_strict:
        raise InvalidArgumentError(
            "lets files be sent to any address: open it with "
            "address_policy=AddressPolicy.strict(), or say trusted=True",
            argument="manager",
        )


def _secret(allowed: object) -> tuple[str, str]:
    whole = text("allow_secrets", allowed)
    source, colon, name = whole.partition(":")
    if not colon or source not in _SOURCES:  # a variable's name may have a colon in it, too
        source, name = "env", whole
    if not name:
        raise InvalidArgumentError(
            f"{whole!r} names no secret: write env:NAME, file:/path or provider:name",
            argument="allow_secrets",
        )
    return source, name
