"""`/openapi.json` is true: every route is in it, and the service answers as it says."""

from __future__ import annotations

import asyncio
import collections
import threading
from collections.abc import Coroutine, Iterator
from pathlib import Path
from typing import Any

import hypothesis
import jsonschema_rs
import pytest
import schemathesis
from hypothesis import HealthCheck
from hypothesis.errors import Unsatisfiable
from schemathesis import GenerationMode
from schemathesis.checks import not_a_server_error
from schemathesis.specs.openapi.checks import (
    content_type_conformance,
    response_schema_conformance,
    status_code_conformance,
)
from tests.service.kit import Service

from outhaul import PythonWorker, TaskTrigger

LATER = TaskTrigger.one_time(3600)
CHECKS = [
    not_a_server_error,
    content_type_conformance,
    response_schema_conformance,
    status_code_conformance,
]


async def test_every_route_is_described_and_nothing_else(service: Service) -> None:
    said = (await service.ask("GET", "/openapi.json")).body
    assert said["openapi"].startswith("3.1")
    assert said["servers"] == [{"url": "/"}]
    described = {
        (method.upper(), path) for path, methods in said["paths"].items() for method in methods
    }
    assert service._runner is not None
    assert service._runner.app is not None
    there = {
        (route.method, route.resource.canonical)
        for route in service._runner.app.router.routes()
        if route.resource is not None and route.method != "HEAD"  # GET, without its body
    }
    assert there - described == {("GET", "/openapi.json")}
    assert described <= there


async def test_every_reference_leads_somewhere_and_every_status_has_a_body(
    service: Service,
) -> None:
    said = (await service.ask("GET", "/openapi.json")).body
    schemas = said["components"]["schemas"]

    def references(part: Any) -> Iterator[str]:  # noqa: ANN401 — JSON
        if isinstance(part, dict):
            if isinstance(part.get("$ref"), str):
                yield part["$ref"]
            for each in part.values():
                yield from references(each)
        elif isinstance(part, list):
            for each in part:
                yield from references(each)

    named = {reference.rpartition("/")[2] for reference in references(said)}
    assert named <= set(schemas)
    assert {"NewTask", "HttpUploadSpec", "PythonTask", "Problem", "TaskRecord"} <= named
    for methods in said["paths"].values():
        for operation in methods.values():
            for response in operation["responses"].values():
                assert response["content"]


async def test_the_document_and_its_schemas_are_well_formed(service: Service) -> None:
    """By the meta-schemas of OpenAPI 3.1 and of JSON Schema 2020-12."""
    said = (await service.ask("GET", "/openapi.json")).body
    schemathesis.openapi.from_dict(said).validate()
    with pytest.raises(jsonschema_rs.ValidationError):  # it does look
        schemathesis.openapi.from_dict(said | {"info": {}}).validate()
    for schema in said["components"]["schemas"].values():
        jsonschema_rs.meta.validate(schema | {"$schema": DRAFT})


DRAFT = "https://json-schema.org/draft/2020-12/schema"


@pytest.fixture
def url(tmp_path: Path) -> Iterator[str]:
    """A service on a loop of its own, since schemathesis is not asynchronous, with some tasks."""
    root = tmp_path / "root"
    root.mkdir()
    loop = asyncio.new_event_loop()
    thread = threading.Thread(target=loop.run_forever)
    thread.start()
    service = Service(tmp_path / "w.db", root, heartbeat=0.1)

    async def begin() -> None:
        await service.__aenter__()

        @service.manager.worker("work")
        async def work(good: object, _: object) -> object:
            return good

        await service.manager.enqueue("done", PythonWorker("work", "x"), tag="t")
        await service.manager.enqueue("tries again", PythonWorker("work", input=False))
        await service.manager.wait_idle()
        await service.manager.enqueue("waits", PythonWorker("work"), trigger=LATER)

    def run(work: Coroutine[Any, Any, None]) -> None:
        asyncio.run_coroutine_threadsafe(work, loop).result(10)

    run(begin())
    try:
        yield service.url
    finally:
        run(service.__aexit__())
        loop.call_soon_threadsafe(loop.stop)
        thread.join()
        loop.close()


def examine(operation: Any, mode: GenerationMode, **fixed: Any) -> list[int]:  # noqa: ANN401 — schemathesis' own
    """Asks what the document allows, or what it does not, and holds the answers against it."""
    statuses: list[int] = []

    @hypothesis.settings(
        max_examples=25,
        derandomize=True,
        deadline=None,
        database=None,
        suppress_health_check=list(HealthCheck),
    )
    @hypothesis.given(case=operation.as_strategy(mode, **fixed))
    def ask(case: Any) -> None:  # noqa: ANN401 — schemathesis' own
        if operation.path == "/v1/events":
            case.query = {**(case.query or {}), "follow": "false"}
        response = case.call(timeout=10)
        statuses.append(response.status_code)
        case.validate_response(response, checks=CHECKS)

    try:
        ask()
    except Unsatisfiable:  # there is nothing that the document does not allow
        assert mode is GenerationMode.NEGATIVE
    return statuses


@pytest.mark.timeout(120)
def test_the_service_answers_as_its_document_says(url: str) -> None:
    schema = schemathesis.openapi.from_url(f"{url}/openapi.json")
    operations: list[Any] = [each.ok() for each in schema.get_all_operations()]  # type: ignore[union-attr] # or it raises
    assert len(operations) == 11
    # What ends tasks comes last, and of that what ends all of them.
    operations.sort(key=lambda each: (each.method == "delete", -len(each.path)))
    seen: dict[str, set[int]] = collections.defaultdict(set)
    for operation in operations:
        if operation.path == "/v1/progress":  # it never ends
            continue
        found = seen[f"{operation.method} {operation.path}"]
        for mode in GenerationMode:
            found.update(examine(operation, mode))
        if "{id}" in operation.path:
            here = {"id": "waits"}
            found.update(examine(operation, GenerationMode.POSITIVE, path_parameters=here))
    for name, least in {
        "post /v1/tasks": {422},
        "get /v1/tasks": {200, 422},
        "get /v1/tasks/{id}": {200, 404},
        "get /v1/events": {200, 422},
        "get /v1/tags": {200},
        "get /v1/stats": {200},
        "delete /v1/tasks/{id}": {200, 404},
        "delete /v1/tasks": {200, 422},
    }.items():
        assert least <= seen[name], (name, seen[name])


@pytest.mark.timeout(30)
def test_what_the_document_shows_is_accepted(url: str, tmp_path: Path) -> None:
    """And answered with what it says: the statuses that chance seldom finds."""
    schema = schemathesis.openapi.from_url(f"{url}/openapi.json")
    (tmp_path / "root" / "a.txt").write_bytes(b"a")
    worker: Any = {
        "type": "http_upload",
        "url": "https://example.com/",
        "file_path": str(tmp_path / "root" / "a.txt"),
        "headers": [["X-One", "1"]],
        "fields": {"a": "1"},
    }
    trigger = {"type": "one_time", "initial_delay_ms": 10_000_000}
    task: Any = {"task_id": "x", "worker": worker, "trigger": trigger}
    enqueue = schema["/v1/tasks"]["POST"]
    for body, status in ((task, 201), (task, 200), ([task, task | {"task_id": "y"}], 201)):
        case = enqueue.Case(body=body, media_type="application/json")
        assert case.call_and_validate(checks=CHECKS).status_code == status
