"""Ids and secrets with names that an address, a pattern or a separator could be mistaken for."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest
from tests.service.kit import NOWHERE, Service
from yarl import URL

LATER = {"trigger": {"type": "one_time", "initial_delay_ms": 3_600_000}}
TOKEN = "0123456789abcdef" * 2


@pytest.mark.parametrize(
    ("task_id", "path"),
    [
        pytest.param("a{b}c", "a%7Bb%7Dc", id="braces"),
        pytest.param("{id}", "%7Bid%7D", id="what the pattern calls it"),
        pytest.param("..", "%2E%2E", id="dots alone"),
        pytest.param("a/b", "a%2Fb", id="a slash"),
    ],
)
async def test_a_task_is_found_at_its_location_whatever_its_id(
    service: Service, task_id: str, path: str
) -> None:
    answer = await service.enqueue(service.upload(NOWHERE) | LATER | {"task_id": task_id})
    assert answer.headers["Location"] == f"/v1/tasks/{path}"
    place = URL(f"{service.url}/v1/tasks/{path}", encoded=True)
    async with service.session.get(place) as shown:
        assert (shown.status, (await shown.json())["task_id"]) == (200, task_id)
    async with service.session.delete(place) as cancelled:
        assert (cancelled.status, await cancelled.json()) == (200, {"cancelled": 1})


async def test_a_variable_may_have_a_colon_in_its_name(tmp_path: Path, folder: Path) -> None:
    """What is before it is a kind of secret only where it is one of those there are."""
    allowed = ["API:TOKEN", "env:OTHER:TOKEN"]
    async with Service(tmp_path / "w.db", folder, allow_secrets=allowed) as service:

        async def status(source: str, name: str) -> int:
            headers = {"X-Api-Key": {"source": source, "name": name}}
            task = service.upload("https://example.com/", headers=headers)
            return (await service.enqueue(task | LATER)).status

        assert await status("env", "API:TOKEN") == 201
        assert await status("env", "OTHER:TOKEN") == 201
        for source, name in (("env", "TOKEN"), ("env", "API"), ("file", "API:TOKEN")):
            assert await status(source, name) == 403


async def test_a_token_of_bytes_that_are_no_text_is_a_wrong_one(
    tmp_path: Path, folder: Path
) -> None:
    async with Service(tmp_path / "w.db", folder, token=TOKEN) as service:
        reader, writer = await asyncio.open_connection("127.0.0.1", service.port)
        head = b"GET /v1/stats HTTP/1.1\r\nHost: x\r\nConnection: close\r\n"
        writer.write(head + b"Authorization: Bearer " + TOKEN.encode() + b"\xff\r\n\r\n")
        assert (await reader.read()).startswith(b"HTTP/1.1 401 ")
        writer.close()
