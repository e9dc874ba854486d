"""Which status says what: of each refusal of the manager, of many tasks at once, of readiness."""

from __future__ import annotations

import asyncio
import logging

import pytest
from tests.service.kit import NOWHERE, Service

from outhaul import errors
from outhaul.errors import OuthaulError

LATER = {"trigger": {"type": "one_time", "initial_delay_ms": 3_600_000}}


@pytest.mark.parametrize(
    ("error", "status"),
    [
        pytest.param(errors.QueueFullError(), 429, id="the queue is full"),
        pytest.param(errors.StoreFullError(), 507, id="the disk is full"),
        pytest.param(errors.StoreUnavailableError(), 503, id="the store cannot be had now"),
        pytest.param(errors.ManagerClosedError(), 503, id="the manager is closed"),
        pytest.param(errors.InternalError(), 500, id="a mistake of the core"),
    ],
)
async def test_each_refusal_of_the_manager_has_its_status(
    service: Service,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
    error: OuthaulError,
    status: int,
) -> None:
    async def refuses(*_: object) -> None:
        raise error

    monkeypatch.setattr(service.manager, "enqueue_task", refuses)
    answer = await service.enqueue(service.upload(NOWHERE))
    assert (answer.status, answer.body["code"], answer.field) == (status, error.code, None)
    assert ("Retry-After" in answer.headers) is (status in {429, 503})
    # What is no client's mistake is told to the operator, too.
    logged = [record.getMessage() for record in caplog.records if record.levelno >= logging.ERROR]
    assert [error.code in each for each in logged] == ([True] if status >= 500 else [])


async def test_of_many_tasks_one_that_is_accepted_makes_it_a_201(service: Service) -> None:
    task = service.upload(NOWHERE) | LATER

    async def sent(*names: str) -> tuple[int, list[str]]:
        answer = await service.enqueue([task | {"task_id": name} for name in names])
        return answer.status, [each["schedule_result"] for each in answer.body]

    assert await sent("x") == (201, ["accepted"])
    assert await sent("x", "y") == (201, ["kept", "accepted"])
    assert await sent("z", "x") == (201, ["accepted", "kept"])
    assert await sent("x", "y") == (200, ["kept", "kept"])


async def test_a_page_that_is_not_full_is_the_last(service: Service) -> None:
    task = service.upload(NOWHERE) | LATER
    answer = await service.enqueue([task | {"task_id": name} for name in "xyz"])
    first = await service.ask("GET", "/v1/tasks?limit=2")
    assert first.body["next"] == str(answer.body[1]["key"])
    last = await service.ask("GET", f"/v1/tasks?limit=2&cursor={first.body['next']}")
    assert [each["task_id"] for each in last.body["tasks"]] == ["z"]
    assert last.body["next"] is None


async def test_a_store_that_does_not_answer_is_not_ready(
    service: Service, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def never(*_: object) -> None:
        await asyncio.Event().wait()

    monkeypatch.setattr("outhaul.service.handlers.READY_TIMEOUT_S", 0.05)
    monkeypatch.setattr(service.manager, "get_task", never)
    answer = await asyncio.wait_for(service.ask("GET", "/readyz"), 5)
    assert (answer.status, answer.body["code"]) == (503, "NOT_READY")
    assert (await service.ask("GET", "/healthz")).status == 200
