"""What clients do with tasks: enqueue, ask, cancel."""

from __future__ import annotations

from urllib.parse import quote

import pytest
from tests.service.kit import JSON, Service
from yarl import URL

from outhaul import TaskStatus
from outhaul.testing import Answer, FlakyServer

NOWHERE = "http://127.0.0.1:9/"
LATER = {"trigger": {"type": "one_time", "initial_delay_ms": 3_600_000}}


async def test_a_task_that_is_accepted_is_done(service: Service, server: FlakyServer) -> None:
    answer = await service.enqueue(service.upload(server.url) | {"task_id": "u 1", "tag": "t"})
    assert (answer.status, answer.body["schedule_result"]) == (201, "accepted")
    assert answer.headers["Location"] == "/v1/tasks/u%201"
    handle = await service.manager.get_handle("u 1")
    assert handle is not None
    assert (await handle.result()).success
    assert server.files["a.txt"].size == 5
    shown = await service.ask("GET", answer.headers["Location"])
    assert (shown.body["status"], shown.body["tag"]) == ("completed", "t")
    assert shown.body["key"] == answer.body["key"]


async def test_what_json_says_reaches_the_server_as_it_is(
    service: Service, server: FlakyServer
) -> None:
    """Headers and fields are a map or pairs; what is left out has the defaults of Python."""
    for number, pairs in enumerate([{"a": "1", "b": "2"}, [["a", "1"], ["b", "2"]]]):
        headers = {"X-One": "1"} if number else [["X-One", "1"]]
        task = service.upload(server.url, headers=headers, fields=pairs, method="PUT")
        assert (await service.enqueue(task | {"task_id": f"t{number}"})).status == 201
        handle = await service.manager.get_handle(f"t{number}")
        assert handle is not None
        assert (await handle.result()).success
    for request in server.requests:
        assert request.fields == [("a", "1"), ("b", "2")]
        assert (request.method, request.headers["X-One"]) == ("PUT", "1")
        assert request.field_name == "file"


async def test_many_tasks_are_stored_all_or_none(service: Service) -> None:
    good = service.upload(NOWHERE) | LATER
    bad = service.upload(NOWHERE, "/etc/passwd")
    refused = await service.enqueue([good, good, bad])
    assert (refused.status, refused.field) == (403, "[2].worker.file_path")
    assert (await service.manager.stats()).live == 0
    accepted = await service.enqueue([good] * 100)
    assert accepted.status == 201
    assert [task["schedule_result"] for task in accepted.body] == ["accepted"] * 100
    assert (await service.manager.stats()).pending == 100
    assert (await service.enqueue([])).body == []


async def test_an_id_that_is_taken_is_kept_and_says_so(service: Service) -> None:
    task = service.upload(NOWHERE) | LATER | {"task_id": "x"}
    first, second = await service.enqueue(task), await service.enqueue(task)
    assert (first.status, second.status) == (201, 200)
    assert second.body == first.body | {"schedule_result": "kept"}
    third = await service.enqueue(task | {"existing_policy": "replace"})
    assert (third.status, third.body["schedule_result"]) == (201, "accepted")


async def test_a_callback_gets_the_json_that_was_sent(service: Service) -> None:
    got = []

    @service.manager.worker("note")
    async def note(value: object, _: object) -> bool:
        got.append(value)
        return True

    sent = {"list": [1, 2.5, None, True], "text": "ä", "nested": {"a": []}}
    task = {"worker": {"type": "python", "callback_id": "note", "input": sent}, "task_id": "n"}
    assert (await service.enqueue(task)).status == 201
    handle = await service.manager.get_handle("n")
    assert handle is not None
    assert (await handle.result()).success
    assert got == [sent]


async def test_tasks_are_listed_page_by_page_and_filtered(service: Service) -> None:
    for number in range(5):
        task = service.upload(NOWHERE) | LATER
        name = {"task_id": f"a-{number}", "tag": "odd" if number % 2 else "even"}
        await service.enqueue(task | name)
    await service.enqueue(service.upload(NOWHERE) | LATER)
    await service.manager.cancel("a-4")

    async def ids(**query: str | int) -> list[str]:
        found, cursor = [], None
        while True:
            page = (await service.ask("GET", "/v1/tasks", params=query | (cursor or {}))).body
            found += [task["task_id"] for task in page["tasks"]]
            if page["next"] is None:
                return found
            cursor = {"cursor": page["next"]}

    everything = await ids(limit=2)
    assert everything[:5] == [f"a-{number}" for number in range(5)]
    assert everything[5].startswith("oh_")
    assert await ids(tag="odd") == ["a-1", "a-3"]
    assert await ids(prefix="a-", limit=3) == everything[:5]
    assert await ids(prefix=everything[5][:8]) == everything[5:]
    assert await ids(status="cancelled") == ["a-4"]
    assert await ids(status="pending", tag="even", limit=1) == ["a-0", "a-2"]
    assert (await service.ask("GET", "/v1/tags")).body == ["even", "odd"]
    stats = (await service.ask("GET", "/v1/stats")).body
    assert (stats["pending"], stats["cancelled"]) == (5, 1)


@pytest.mark.parametrize("task_id", ["plain", "a/b", "ä ?#%", "..", "a+b"])
async def test_any_id_can_be_asked_for_and_cancelled(service: Service, task_id: str) -> None:
    answer = await service.enqueue(service.upload(NOWHERE) | LATER | {"task_id": task_id})
    assert answer.status == 201
    path = f"/v1/tasks/{quote(task_id, safe='')}".replace("..", "%2E%2E")
    address = URL(service.url + path, encoded=True)
    async with service.session.get(address) as shown:
        assert (await shown.json())["task_id"] == task_id
    async with service.session.delete(address) as gone:
        assert await gone.json() == {"cancelled": 1}
    async with service.session.delete(address) as gone:
        assert gone.status == 404
    assert await service.manager.get_task_status(task_id) is TaskStatus.CANCELLED


async def test_tasks_are_cancelled_by_tag_or_all_but_never_by_accident(service: Service) -> None:
    for tag in ("a", "a", "b", "c"):
        await service.enqueue(service.upload(NOWHERE) | LATER | {"tag": tag})
    for query in ("", "?tag=a&all=true", "?all=false", "?all=maybe", "?tags=a"):
        refused = await service.ask("DELETE", f"/v1/tasks{query}")
        assert refused.status == 422
        assert refused.field in {"tag", "all", "tags"}
    assert (await service.ask("DELETE", "/v1/tasks?tag=a")).body == {"cancelled": 2}
    assert (await service.ask("DELETE", "/v1/tasks?all=true")).body == {"cancelled": 2}
    assert (await service.manager.stats()).live == 0


async def test_a_cancel_stops_what_runs(service: Service) -> None:
    async with FlakyServer(script=[Answer(delay_s=30)]) as slow:
        await service.enqueue(service.upload(slow.url) | {"task_id": "x"})
        await slow.wait_requests()
        assert (await service.ask("DELETE", "/v1/tasks/x")).body == {"cancelled": 1}
        handle = await service.manager.get_handle("x")
        assert handle is not None
        assert (await handle.result()).kind.value == "cancelled"


async def test_health_and_readiness_tell_the_truth(service: Service) -> None:
    assert (await service.ask("GET", "/healthz")).body == {"status": "ok"}
    assert (await service.ask("GET", "/readyz")).body == {"status": "ready"}
    await service.manager.close()
    assert (await service.ask("GET", "/healthz")).status == 200
    closed = await service.ask("GET", "/readyz")
    assert (closed.status, closed.body["code"]) == (503, "NOT_READY")
    assert closed.headers["Retry-After"]
    refused = await service.enqueue(service.upload(NOWHERE))
    assert (refused.status, refused.body["code"]) == (503, "CLOSED")


async def test_the_body_is_json_or_nothing(service: Service) -> None:
    for kind in ("text/plain", "application/x-www-form-urlencoded", "multipart/form-data", ""):
        headers = {"Content-Type": kind}
        answer = await service.ask("POST", "/v1/tasks", data=b"{}", headers=headers)
        assert (answer.status, answer.field) == (415, "Content-Type")
    charset = {"Content-Type": "application/json; charset=utf-8"}
    assert (await service.ask("POST", "/v1/tasks", data=b"[]", headers=charset)).status == 200
    assert (await service.ask("POST", "/v1/tasks", data=b"[]", headers=JSON)).status == 200
