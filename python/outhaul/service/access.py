"""Who may ask, and how: a token, the hosts that are ours, JSON and nothing else."""

from __future__ import annotations

import hashlib
import hmac
import re
from typing import TYPE_CHECKING, Final

from aiohttp import web

from outhaul.arguments import text
from outhaul.errors import InvalidArgumentError
from outhaul.service.problems import Refused

if TYPE_CHECKING:
    from collections.abc import Collection

    from aiohttp.typedefs import Handler, Middleware

TOKEN_CHARS_MIN: Final = 16

# A name, or an address in brackets, and perhaps a port. SOURCE: RFC 9110 §7.2.
_HOST: Final = re.compile(r"(?P<name>\[[^\]]*\]|[^:]*)(?::[0-9]*)?")


def guard(
    token: str | None, hosts: Collection[str] | None, *, public: Collection[str]
) -> Middleware:
    """The middleware that lets in who may ask.

    Args:
        token: What clients have to bear; `None` lets everybody in. Kept as a digest.
        hosts: The names by which the service may be called; `None` is any. Without it, a page that
            somebody visits could let its own name mean this address and read what we answer.
        public: The names of the routes that are open to whoever asks.
    """
    digest = None if token is None else _digest(_checked(token))
    ours = None if hosts is None else {name.lower() for name in hosts}

    @web.middleware
    async def middleware(request: web.Request, handler: Handler) -> web.StreamResponse:
        # As it was sent: aiohttp's own word for it is our address, where there is no header.
        host = request.headers.get("Host", "")
        if ours is not None and _name(host) not in ours:
            said = f"this service is not {host!r}: call it by the address it listens on"
            raise Refused(421, "WRONG_HOST", said, field="Host")
        is_public = request.match_info.route.name in public
        if digest is not None and not is_public and not _bears(request, digest):
            said = "this service wants a token: send `Authorization: Bearer TOKEN`"
            challenge = {"WWW-Authenticate": "Bearer"}
            raise Refused(401, "UNAUTHORIZED", said, field="Authorization", headers=challenge)
        # A form of another page can be sent here without asking, JSON cannot.
        if request.method == "POST" and request.content_type != "application/json":
            said = "the body must be JSON: send `Content-Type: application/json`"
            raise Refused(415, "UNSUPPORTED_MEDIA_TYPE", said, field="Content-Type")
        return await handler(request)

    return middleware


def _checked(token: str) -> str:
    if len(text("token", token)) < TOKEN_CHARS_MIN:
        raise InvalidArgumentError(
            f"has {len(token)} characters: use at least {TOKEN_CHARS_MIN}, such as the output of "
            "`openssl rand -hex 32`",
            argument="token",
        )
    return token


def _bears(request: web.Request, digest: bytes) -> bool:
    kind, _, given = request.headers.get("Authorization", "").partition(" ")
    # Digests have one length, and comparing them takes one time, whatever was given.
    return kind.lower() == "bearer" and hmac.compare_digest(_digest(given.strip()), digest)


def _digest(token: str) -> bytes:
    return hashlib.sha256(token.encode(errors="surrogateescape")).digest()


def _name(host: str) -> str | None:
    """A `Host` without its port; `None` where it is none."""
    found = _HOST.fullmatch(host)
    return None if found is None else found["name"].lower()
