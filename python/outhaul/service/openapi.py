"""The OpenAPI document, made of the routes and of the Structs that requests are decoded into.

SOURCE: OpenAPI Specification 3.1.1.
"""

from __future__ import annotations

import http
import importlib.metadata
from typing import TYPE_CHECKING, Any, Final

import msgspec

from outhaul.service.problems import CONTENT_TYPE as PROBLEM_TYPE
from outhaul.service.problems import Problem
from outhaul.service.routes import ALWAYS, GUARDED, JSON
from outhaul.service.streams import CONTENT_TYPE as STREAM

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from outhaul.service.routes import Operation

# Read when this is imported, and not on an event loop.
_VERSION: Final = importlib.metadata.version("outhaul")
_REFERENCE: Final = "#/components/schemas/{name}"
_PROBLEM: Final = {PROBLEM_TYPE: {"schema": {"$ref": "#/components/schemas/Problem"}}}
_ID: Final = {"name": "id", "in": "path", "required": True, "schema": {"type": "string"}}
_LAST_EVENT_ID: Final = {
    "name": "Last-Event-ID",
    "in": "header",
    "description": "The id of the last event that was seen.",
    "schema": {"type": "string", "pattern": "^[0-9]{1,18}$"},
}


def document(operations: Iterable[Operation], *, has_token: bool) -> dict[str, Any]:
    """The document of these operations, but for where the service is."""
    operations = list(operations)
    types = _types(operations)
    schemas, components = msgspec.json.schema_components(types, ref_template=_REFERENCE)
    schema_of = {_key(kind): schema for kind, schema in zip(types, schemas, strict=True)}
    paths: dict[str, Any] = {}
    for operation in operations:
        said = _operation(operation, schema_of, components, has_token=has_token)
        paths.setdefault(operation.path, {})[operation.method.lower()] = said
    for operation in operations:  # said one by one, as parameters
        components.pop(_name(schema_of[_key(operation.query)]), None)
    secured = {"securitySchemes": {"token": {"type": "http", "scheme": "bearer"}}}
    return {
        "openapi": "3.1.1",
        "info": {
            "title": "outhaul",
            "description": "Durable background work: what is accepted is on disk, and is done.",
            "version": _VERSION,
        },
        "paths": paths,
        "components": {"schemas": components, **(secured if has_token else {})},
    }


def _types(operations: Iterable[Operation]) -> list[Any]:
    found: dict[str, Any] = {_key(Problem): Problem}
    for operation in operations:
        for kind in (operation.query, operation.body, *operation.answers.values()):
            if kind is not None:
                found.setdefault(_key(kind), kind)
    return list(found.values())


def _key(kind: object) -> str:
    return repr(kind)


def _operation(
    operation: Operation,
    schema_of: dict[str, Any],
    components: dict[str, Any],
    *,
    has_token: bool,
) -> dict[str, Any]:
    said: dict[str, Any] = {
        "operationId": operation.name,
        "summary": operation.summary,
        "responses": dict(_responses(operation, schema_of, has_token=has_token)),
    }
    parameters = list(_parameters(operation, schema_of, components))
    if parameters:
        said["parameters"] = parameters
    if operation.body is not None:
        content = {JSON: {"schema": schema_of[_key(operation.body)]}}
        said["requestBody"] = {"required": True, "content": content}
    if has_token and not operation.is_public:
        said["security"] = [{"token": []}]
    return said


def _responses(
    operation: Operation, schema_of: dict[str, Any], *, has_token: bool
) -> Iterator[tuple[str, dict[str, Any]]]:
    for status, kind in operation.answers.items():
        schema = schema_of[_key(kind)]
        content = _stream(schema) if operation.is_stream else {JSON: {"schema": schema}}
        yield str(status), {"description": _phrase(status), "content": content}
    guarded = GUARDED if has_token and not operation.is_public else ()
    for status in sorted({*operation.refusals, *ALWAYS, *guarded}):
        yield str(status), {"description": _phrase(status), "content": _PROBLEM}


def _parameters(
    operation: Operation, schema_of: dict[str, Any], components: dict[str, Any]
) -> Iterator[dict[str, Any]]:
    if "{id}" in operation.path:
        yield _ID
    if operation.name == "events":
        yield _LAST_EVENT_ID
    query = components[_name(schema_of[_key(operation.query)])]
    for member, schema in query["properties"].items():
        yield {"name": member, "in": "query", "schema": _given(schema)}


def _name(schema: dict[str, Any]) -> str:
    name: str = schema["$ref"].rpartition("/")[2]
    return name


def _given(schema: dict[str, Any]) -> dict[str, Any]:
    """What a parameter is where it is given: a query has no null."""
    kinds = [kind for kind in schema.get("anyOf", []) if kind != {"type": "null"}]
    return kinds[0] if kinds else schema


def _stream(schema: dict[str, Any]) -> dict[str, Any]:
    """What each event of a stream is."""
    data = {"type": "string", "contentMediaType": JSON, "contentSchema": schema}
    members = {"data": data, "event": {"type": "string"}, "id": {"type": "string"}}
    return {STREAM: {"schema": {"type": "object", "properties": members, "required": ["data"]}}}


def _phrase(status: int) -> str:
    return http.HTTPStatus(status).phrase
