"""`/openapi.json` is true: every route is in it, and the service answers as it says."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import hypothesis
import pytest
import schemathesis
from hypothesis import HealthCheck
from schemathesis.checks import not_a_server_error
from schemathesis.specs.openapi.checks import (
    content_type_conformance,
    response_schema_conformance,
    status_code_conformance,
)
from tests.service.kit import Service

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
        if route.resource is not None
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


@pytest.fixture
def url(tmp_path: Path) -> Iterator[str]:
    """A service on a loop of its own: schemathesis is not asynchronous."""
    (tmp_path / "root").mkdir()
    loop = asyncio.new_event_loop()
    thread = threading.Thread(target=loop.run_forever)
    thread.start()
    service = Service(tmp_path / "w.db", tmp_path / "root")
    asyncio.run_coroutine_threadsafe(service.__aenter__(), loop).result(10)
    yield service.url
    asyncio.run_coroutine_threadsafe(service.__aexit__(), loop).result(10)
    loop.call_soon_threadsafe(loop.stop)
    thread.join()
    loop.close()


def examine(operation: Any) -> None:  # noqa: ANN401 — schemathesis' own
    """Asks what the document allows, and what it does not, and holds the answers against it."""

    @hypothesis.settings(
        max_examples=25,
        derandomize=True,
        deadline=None,
        database=None,
        suppress_health_check=list(HealthCheck),
    )
    @hypothesis.given(case=operation.as_strategy())
    def ask(case: Any) -> None:  # noqa: ANN401 — schemathesis' own
        if operation.path == "/v1/events":
            case.query = {**(case.query or {}), "follow": "false"}
        case.validate_response(case.call(timeout=10), checks=CHECKS)

    ask()


@pytest.mark.timeout(120)
def test_the_service_answers_as_its_document_says(url: str) -> None:
    schema = schemathesis.openapi.from_url(f"{url}/openapi.json")
    operations: list[Any] = [each.ok() for each in schema.get_all_operations()]  # type: ignore[union-attr] # or it raises
    assert len(operations) == 11
    for operation in operations:
        if operation.path != "/v1/progress":  # it never ends
            examine(operation)
