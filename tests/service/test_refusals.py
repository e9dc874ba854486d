"""What strangers may try: each a 4xx that names the field, and nothing stored."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any

import pytest
from tests.service.kit import NOWHERE, Service, ending, is_untouched

from outhaul.service.specs import BODY_BYTES_MAX, TASKS_MAX
from outhaul.testing import FlakyServer

POST = b"POST /v1/tasks HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\n"


MALFORMED = [
    pytest.param(b"", id="nothing"),
    pytest.param(b"{", id="half"),
    pytest.param(b"{'a': 1}", id="Python"),
    pytest.param(b'{"worker": \xff}', id="a byte that is no character"),
    pytest.param(b'{"task_id": "\xc3("}', id="no UTF-8 in a string"),
    pytest.param(b'{"task_id": "\\ud800", "worker": {}}', id="half a surrogate"),
    pytest.param(b"NaN", id="not a number"),
    pytest.param(b"[] []", id="two of them"),
    pytest.param(b"\x00" * 100, id="NULs"),
    pytest.param(b'\xef\xbb\xbf{"worker": 1}', id="a byte order mark"),
]


@pytest.mark.parametrize("body", MALFORMED)
async def test_what_is_no_json_is_a_400(service: Service, body: bytes) -> None:
    answer = await service.enqueue(body)
    assert (answer.status, answer.body["code"]) == (400, "MALFORMED"), answer
    assert answer.field is None
    assert await is_untouched(service)


async def test_json_that_is_nested_too_deeply_is_refused(service: Service) -> None:
    deep = b"[" * 500_000 + b"]" * 500_000
    task = b'{"worker": {"type": "python", "callback_id": "x", "input": ' + deep + b"}}"
    for body in (deep, b'{"a":' * 100_000 + b"1" + b"}" * 100_000, task):
        assert (await service.enqueue(body)).status in {400, 422}
    assert await is_untouched(service)


def changed(field: str, value: object) -> tuple[dict[str, Any], str]:
    """A task with one member changed, and the name of that member."""
    task: dict[str, Any] = {
        "worker": {"type": "http_upload", "url": NOWHERE, "file_path": "{path}"}
    }
    *way, last = field.split(".")
    inside = task
    for name in way:
        inside = inside.setdefault(name, {})
    inside[last] = value
    return task, field


@pytest.mark.parametrize(
    ("task", "field"),
    [
        changed("task_id", 5),
        changed("task_id", ""),
        changed("task_id", "a\0b"),
        changed("task_id", "a\nb"),
        changed("task_id", "x" * 513),
        changed("task_id", "oh_0000000000000"),
        changed("tag", []),
        changed("tag", "\x7f"),
        changed("priority", "high"),
        changed("priority", 2**31),
        changed("priority", 10**400),
        changed("priority", 1.5),
        changed("priority", [True]),
        changed("existing_policy", "append"),
        changed("trigger.type", "periodic"),
        changed("trigger.initial_delay_ms", -1),
        changed("trigger.initial_delay_ms", 2**63),
        changed("constraints.network_type", "5g"),
        changed("constraints.battery_not_low", 1),
        changed("constraints.moon", "full"),
        changed("retry.max_retries", -1),
        changed("retry.max_retries", 10_001),
        changed("retry.multiplier", 0.5),
        changed("retry.multiplier", 101),
        changed("retry.max_delay_ms", None),
        changed("retry", {"initial_delay_ms": 7_200_000}),
        changed("worker.type", "shell"),
        changed("worker.url", None),
        changed("worker.file_path", {"a": 1}),
        changed("worker.method", "DELETE"),
        changed("worker.body", "chunked"),
        changed("worker.field_name", ""),
        changed("worker.field_name", "a\0"),
        changed("worker.file_name", "\x01"),
        changed("worker.mime_type", "text/plain\r\nX-Evil: 1"),
        changed("worker.headers", "X: y"),
        changed("worker.headers", [["X"]]),
        changed("worker.fields", {"a": 1}),
        changed("worker.connect_timeout_ms", 0),
        changed("worker.stall_timeout_ms", 1e300),
        changed("worker.timeout", 5),
        changed("workers", {}),
        changed("__proto__", {}),
        ({"worker": {"type": "http_upload", "url": NOWHERE}}, "worker.file_path"),
        ({"worker": {"url": NOWHERE, "file_path": "{path}"}}, "worker.type"),
        ({}, "worker"),
        ({"worker": {"type": "python"}}, "worker.callback_id"),
        ({"worker": {"type": "python", "callback_id": 1}}, "worker.callback_id"),
    ],
    ids=str,
)
async def test_a_member_that_means_nothing_is_named(
    service: Service, task: dict[str, Any], field: str
) -> None:
    worker = task.get("worker", {})
    if worker.get("file_path") == "{path}":
        worker = worker | {"file_path": str(service.root / "a.txt")}
        task = task | {"worker": worker}
    answer = await service.enqueue(task)
    assert answer.status == 422, answer
    assert answer.field is not None
    assert answer.field.partition("[")[0].removesuffix(".") == field
    in_a_list = await service.enqueue([task])
    assert in_a_list.field is not None
    assert in_a_list.field.startswith(f"[0].{field}")
    assert await is_untouched(service)


@pytest.mark.parametrize("body", [b"5", b'"x"', b"true", b"null", b"[1]", b"[[]]"])
async def test_what_describes_no_task_is_refused(service: Service, body: bytes) -> None:
    assert (await service.enqueue(body)).status == 422
    assert await is_untouched(service)


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("X", "a\r\nY: b"), ("X", "a\nb"), ("X", "a\0b"), ("X\r\nY", "a"), ("X Y", "a"), ("", "a"),
        ("Content-Length", "5"), ("Transfer-Encoding", "chunked"), ("Host", "elsewhere"),
        ("Authorization", "Bearer in-plain-text"), ("Cookie", "a=b"), ("X-Api-Key", "k"),
        ("Authorization", {"source": "env", "name": "PATH"}),
        ("X", {"source": "file", "name": "/etc/passwd"}),
        ("X", {"source": "provider", "name": "x"}),
        ("X", {"source": "vault", "name": "x"}),
        ("X", {"name": "x"}),
        ("X", 5),
    ],
    ids=str,
)  # fmt: skip
async def test_a_header_that_may_not_be_sent_is_named(
    service: Service, name: str, value: object
) -> None:
    for headers in ({name: value}, [[name, value]]):
        answer = await service.enqueue(service.upload(NOWHERE, headers=headers))
        assert answer.status in {403, 422}, answer
        assert answer.field is not None
        assert answer.field.startswith("worker.headers")
        assert "in-plain-text" not in str(answer.body)
    assert await is_untouched(service)


async def test_only_secrets_that_the_operator_allowed_may_be_named(
    tmp_path: Path, folder: Path, server: FlakyServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("OUTHAUL_TEST_TOKEN", "canary")
    allowed = ["OUTHAUL_TEST_TOKEN", "file:/run/key"]
    async with Service(tmp_path / "w.db", folder, allow_secrets=allowed) as service:
        reference = {"source": "env", "name": "OUTHAUL_TEST_TOKEN", "prefix": "Bearer "}
        task = service.upload(server.url, headers={"Authorization": reference})
        assert (await ending(service, task)).success
        assert server.requests[0].headers["Authorization"] == "Bearer canary"
        for source, name in (
            ("env", "OUTHAUL_TEST_TOKEN2"),
            ("file", "/run/key2"),
            ("file", "PATH"),
        ):
            reference = {"source": source, "name": name}
            answer = await service.enqueue(service.upload(server.url, headers={"X": reference}))
            assert (answer.status, answer.field) == (403, 'worker.headers["X"]')
        reference = {"source": "file", "name": "/run/key"}
        answer = await service.enqueue(service.upload(NOWHERE, headers={"X": reference}))
        assert answer.status == 201


async def test_bodies_and_batches_are_bounded(service: Service) -> None:
    large = b'{"task_id": "' + b"a" * BODY_BYTES_MAX + b'"}'
    assert (await service.enqueue(large)).status == 413
    many = b"[" + b",".join([b'{"worker":{"type":"python","callback_id":"x"}}'] * (TASKS_MAX + 1))
    assert (await service.enqueue(many + b"]")).status == 413
    task = {"worker": {"type": "python", "callback_id": "x", "input": "a" * 1_100_000}}
    answer = await service.enqueue(task)
    assert (answer.status, answer.field) == (422, "worker")
    headers = {"X-Large": "a" * 100_000}
    assert (await service.ask("GET", "/v1/stats", headers=headers)).status == 400
    assert await is_untouched(service)


@pytest.mark.parametrize(
    ("path", "field"),
    [
        ("/v1/tasks?limit=0", "limit"),
        ("/v1/tasks?limit=501", "limit"),
        ("/v1/tasks?limit=x", "limit"),
        ("/v1/tasks?limit=1&limit=2", "limit"),
        ("/v1/tasks?cursor=-1", "cursor"),
        ("/v1/tasks?cursor=99999999999999999999", "cursor"),
        ("/v1/tasks?status=done", "status"),
        ("/v1/tasks?color=red", "color"),
        ("/v1/events?after=-1", "after"),
        ("/v1/events?after=x", "after"),
        ("/v1/events?follow=5", "follow"),
        ("/v1/progress?after=1", "after"),
        ("/v1/stats?x=1", "x"),
        ("/v1/tags?x=1", "x"),
        ("/v1/tasks/a?x=1", "x"),
    ],
)
async def test_a_parameter_that_means_nothing_is_named(
    service: Service, path: str, field: str
) -> None:
    answer = await service.ask("GET", path)
    assert answer.status == 422
    assert answer.field is not None
    assert answer.field.partition("[")[0] == field


@pytest.mark.parametrize("number", ["1" + "0" * 25, "-" + "9" * 19, "1" + "0" * 4000])
async def test_a_number_that_cannot_be_stored_is_refused(service: Service, number: str) -> None:
    task = f'{{"worker": {{"type": "python", "callback_id": "x", "input": [{number}]}}}}'
    for body, field in ((task, "worker.input"), (f"[{task}]", "[0].worker.input")):
        answer = await service.enqueue(body.encode())
        assert (answer.status, answer.field) in {(422, field), (400, None)}, answer
    assert await is_untouched(service)


async def test_a_body_that_does_not_come_is_not_waited_for(
    service: Service, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("outhaul.service.handlers.BODY_TIMEOUT_S", 0.05)
    reader, writer = await asyncio.open_connection("127.0.0.1", service.port)
    writer.write(POST + b"Content-Length: 100\r\n\r\n[")
    async with asyncio.timeout(5):
        head = await reader.readuntil(b"\r\n\r\n")
    assert head.startswith(b"HTTP/1.1 408 ")
    assert b"\r\nConnection: close\r\n" in head
    writer.close()
    assert await is_untouched(service)


@pytest.mark.parametrize(
    "seen", ["x", "-1", "1.5", "٣", "9" * 30, "9" * 19, "0" * 23 + "5", "1 2", ""]
)
async def test_a_last_event_id_that_was_never_given_is_refused(service: Service, seen: str) -> None:
    answer = await service.ask("GET", "/v1/events", headers={"Last-Event-ID": seen})
    assert (answer.status, answer.field) == (422, "Last-Event-ID")


async def test_an_address_or_a_method_that_is_not_there_is_a_problem_too(service: Service) -> None:
    assert (await service.ask("GET", "/v2/tasks")).status == 404
    wrong = await service.ask("PATCH", "/v1/tasks")
    assert (wrong.status, wrong.headers["Allow"]) == (405, "DELETE,GET,POST")
    assert wrong.field is None
