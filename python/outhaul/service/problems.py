"""What a client is told when something is refused: problem details that name the field.

SOURCE: RFC 9457.
"""

from __future__ import annotations

import http
import logging
import re
from typing import TYPE_CHECKING, Final

import msgspec
from aiohttp import web

from outhaul import errors, wire
from outhaul.human import printable

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from aiohttp.typedefs import Handler

_LOG: Final = logging.getLogger("outhaul.service")
_SECURITY_LOG: Final = logging.getLogger("outhaul.security")

CONTENT_TYPE: Final = "application/problem+json"

# Said to who would open another stream, when there are as many as there may be.
TOO_MANY_STREAMS: Final = "TOO_MANY_STREAMS"

# The first that fits counts.
_STATUS_OF: Final[tuple[tuple[type[errors.OuthaulError], int], ...]] = (
    (errors.SecurityViolationError, 403),
    (errors.TaskNotFoundError, 404),
    (errors.CursorPrunedError, 410),
    (errors.InvalidArgumentError, 422),
    (errors.InvalidTypeError, 422),
    (errors.SourceNotFoundError, 422),
    (errors.SourcePermissionError, 422),
    (errors.SourceChangedError, 422),
    (errors.QueueFullError, 429),
    (errors.StoreFullError, 507),
    (errors.StoreError, 503),
    (errors.ManagerClosedError, 503),
    (errors.OuthaulError, 500),
)

# Seconds after which a client may try again what was refused for now.
_RETRY_AFTER_S: Final = {429: 5, 503: 5}


class Problem(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """Why a request was refused.

    Attributes:
        title: The status in words.
        status: The status of the response.
        detail: What happened and what to change.
        code: What kind of refusal, in capitals: stable, for programs.
        field: Which part of the request it is about, as in `worker.url` or `[3].worker.url`.
    """

    title: str
    status: int
    detail: str
    code: str
    field: str | None = None


class Refused(Exception):  # noqa: N818 — what a handler says, not a mistake
    """Raised where a request is refused; the middleware answers it."""

    def __init__(
        self,
        status: int,
        code: str,
        detail: str,
        *,
        field: str | None = None,
        headers: Mapping[str, str] | None = None,
    ) -> None:
        super().__init__(detail)
        title = http.HTTPStatus(status).phrase
        self.problem = Problem(title=title, status=status, detail=detail, code=code, field=field)
        self.headers = dict(headers or {})
        if status in _RETRY_AFTER_S:
            self.headers.setdefault("Retry-After", str(_RETRY_AFTER_S[status]))

    def response(self) -> web.Response:
        """The answer."""
        return web.Response(
            status=self.problem.status,
            body=msgspec.json.encode(self.problem),
            content_type=CONTENT_TYPE,
            headers=self.headers,
        )


@web.middleware
async def problems(request: web.Request, handler: Handler) -> web.StreamResponse:
    """Answers every refusal as problem details, aiohttp's own too."""
    try:
        return await handler(request)
    except Refused as refused:
        return refused.response()
    except errors.OuthaulError as error:
        if isinstance(error, errors.SecurityViolationError):
            said = printable(str(error))
            _SECURITY_LOG.warning("%s %s: %s", request.remote, request.method, said)
        return _of_error(error).response()
    except web.HTTPException as error:
        if error.status < http.HTTPStatus.BAD_REQUEST:
            raise
        allow = {"Allow": error.headers["Allow"]} if "Allow" in error.headers else {}
        code, said = _SAID.get(error.status, ("REFUSED", f"{error.reason}."))
        return Refused(error.status, code, said, headers=allow).response()
    except Exception:  # noqa: BLE001 — told to the client in our own words, to the operator in full
        _LOG.exception("%s %s", request.method, request.path)
        return Refused(500, "INTERNAL", "a mistake of the service: its log says more").response()


# Not `NOT_FOUND`, which is said of a task.
_SAID: Final = {
    404: ("NO_SUCH_ADDRESS", "there is nothing at this address: /openapi.json says what there is"),
    405: ("NO_SUCH_METHOD", "this address knows other methods: the Allow header says which"),
    413: ("BODY_TOO_LARGE", "the body is too large: send fewer tasks at once"),
}


def _of_error(error: errors.OuthaulError) -> Refused:
    status = next(status for kind, status in _STATUS_OF if isinstance(error, kind))
    if status >= http.HTTPStatus.INTERNAL_SERVER_ERROR:
        _LOG.error("%s: %s", error.code, error)
    return Refused(status, error.code, error.message, field=field_of(error.argument))


def undecodable(error: Exception) -> Refused:
    """The refusal of a body or a query that msgspec cannot take."""
    message, _, path = str(error).partition(" - at `")
    field = path.removesuffix("`").removeprefix("$").removeprefix(".")
    member = re.search(r"(?:required|unknown) field `([^`]*)`", message)
    if member is not None:
        field = f"{field}.{member[1]}" if field else member[1]
    if isinstance(error, msgspec.ValidationError):
        return Refused(422, "INVALID_ARGUMENT", message, field=field or None)
    said = "it is nested too deeply" if isinstance(error, RecursionError) else message
    return Refused(400, "MALFORMED", f"The body is not JSON that can be read: {said}.")


def _places() -> dict[str, str]:
    """Where in the JSON of a task an argument of `enqueue` stands."""
    places: dict[str, str] = {}
    parts: Iterable[tuple[str, type[msgspec.Struct]]] = (
        ("worker", wire.HttpUploadSpec),
        ("worker", wire.PythonSpec),
        ("constraints", wire.ConstraintsSpec),
        ("trigger", wire.OneTimeSpec),
        ("retry", wire.RetrySpec),
    )
    for part, kind in parts:
        places |= {name: f"{part}.{name}" for name in kind.__struct_fields__}
    return places


_PLACE_OF: Final = _places()
_BATCH: Final = re.compile(r"tasks(\[\d+\])\.?(.*)", re.DOTALL)
_FIELD: Final = re.compile(
    r"(\[\d+\])?\.?(?:(?:worker|constraints|trigger|retry)\.)?(.*)", re.DOTALL
)


def field_of(argument: str) -> str | None:
    """Where in the JSON the argument stands that an error names."""
    if not argument:
        return None
    batch = _BATCH.fullmatch(argument)
    if batch is not None:
        return f"{batch[1]}.{field_of(batch[2]) or ''}".rstrip(".")
    name = re.match(r"\w*", argument)
    root = name[0] if name else ""
    return _PLACE_OF.get(root, root) + argument[len(root) :]


def argument_of(field: str) -> str:
    """The argument that a field of a batch stands for, as `enqueue_all` spells it."""
    at, name = _FIELD.fullmatch(field).groups()  # type: ignore[union-attr]  # it matches anything
    return name if at is None else f"tasks{at}.{name}".rstrip(".")
