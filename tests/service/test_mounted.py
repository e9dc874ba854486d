"""The service in a user's own application: under a prefix, begun and ended with it."""

from __future__ import annotations

import io
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import aiohttp
import pytest
from aiohttp import web
from tests.service.kit import JSON, LOOPBACK

from outhaul import WorkManager
from outhaul.service import create_app

LATER = {"trigger": {"type": "one_time", "initial_delay_ms": 3_600_000}}


def a_manager(tmp_path: Path, folder: Path) -> WorkManager:
    return WorkManager(tmp_path / "w.db", allowed_roots=[folder], address_policy=LOOPBACK)


async def began(app: web.Application) -> tuple[web.AppRunner, str]:
    runner = web.AppRunner(app, access_log=None, shutdown_timeout=0.1)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    return runner, f"http://127.0.0.1:{runner.addresses[0][1]}"


async def test_it_works_under_a_prefix_and_the_manager_lives_as_long_as_the_application(
    tmp_path: Path, folder: Path
) -> None:
    manager = a_manager(tmp_path, folder)
    app = web.Application()

    async def hello(_: web.Request) -> web.Response:
        return web.Response(text=f"{(await manager.stats()).pending} to do")

    app.router.add_get("/", hello)
    app.add_subapp("/work", create_app(manager))
    assert not manager.is_open
    runner, url = await began(app)
    assert manager.is_open
    worker = {"type": "http_upload", "url": url, "file_path": str(folder / "a.txt")}
    async with aiohttp.ClientSession(url) as session:
        body = json.dumps({"worker": worker, "task_id": "x", **LATER})
        async with session.post("/work/v1/tasks", data=body, headers=JSON) as answer:
            assert answer.status == 201
            place = answer.headers["Location"]
        async with session.get(place) as answer:
            assert (await answer.json())["task_id"] == "x"
        async with session.get("/") as answer:
            assert await answer.text() == "1 to do"
        async with session.get("/work/openapi.json") as answer:
            assert (await answer.json())["servers"] == [{"url": "/work"}]
        async with session.get("/work/v1/tasks?limit=0") as answer:
            assert (await answer.json())["field"] == "limit"
        async with session.get("/work/v1/events", params={"after": "0"}) as stream:
            assert (await stream.content.readline()).startswith(b"retry:")
            await runner.cleanup()  # with a stream that is open
    assert not manager.is_open


async def test_a_manager_that_was_open_stays_so(tmp_path: Path, folder: Path) -> None:
    async with a_manager(tmp_path, folder) as manager:
        runner, url = await began(create_app(manager))
        async with aiohttp.ClientSession(url) as session, session.get("/readyz") as answer:
            assert answer.status == 200
        await runner.cleanup()
        assert manager.is_open
        assert (await manager.stats()).live == 0


@asynccontextmanager
async def running(app: web.Application) -> AsyncIterator[aiohttp.ClientSession]:
    runner, url = await began(app)
    try:
        async with aiohttp.ClientSession(url) as session:
            yield session
    finally:
        await runner.cleanup()


async def test_what_is_not_there_under_the_prefix_is_answered_by_the_service(
    tmp_path: Path, folder: Path
) -> None:
    """And to nobody who does not bear its token."""
    app = web.Application()
    app.add_subapp("/work", create_app(a_manager(tmp_path, folder), token="x" * 16))
    bearing = {"Authorization": f"Bearer {'x' * 16}"}
    async with running(app) as session:
        answered: dict[str, list[tuple[int, bool]]] = {}
        for path in ("/work/nowhere", "/work/v1/stats", "/work/healthz", "/nowhere"):
            for headers in ({}, bearing):
                async with session.get(path, headers=headers) as answer:
                    is_ours = answer.content_type != "text/plain"
                    answered.setdefault(path, []).append((answer.status, is_ours))
    assert answered == {
        "/work/nowhere": [(401, True), (404, True)],
        "/work/v1/stats": [(401, True), (200, True)],
        "/work/healthz": [(200, True), (200, True)],
        "/nowhere": [(404, False), (404, False)],
    }


@pytest.mark.parametrize("of_root", [2**20, 2**28])
async def test_a_body_is_bounded_by_the_service_and_not_by_the_application_around_it(
    tmp_path: Path, folder: Path, of_root: int
) -> None:
    app = web.Application(client_max_size=of_root)
    app.add_subapp("/work", create_app(a_manager(tmp_path, folder)))
    worker = {
        "type": "http_upload",
        "file_path": str(folder / "a.txt"),
        "url": "http://127.0.0.1:9",
    }
    task = {"worker": worker | {"fields": {"a": "a" * 600_000}}, **LATER}
    async with running(app) as session:
        for tasks, status in ((2, 201), (4, 413)):
            body = io.BytesIO(json.dumps([task] * tasks).encode())
            async with session.post("/work/v1/tasks", data=body, headers=JSON) as answer:
                assert answer.status == status


async def test_a_location_leads_to_the_task_whatever_its_name(tmp_path: Path, folder: Path) -> None:
    app = web.Application()
    app.add_subapp("/api/work", create_app(a_manager(tmp_path, folder)))
    async with running(app) as session:
        worker = {
            "type": "http_upload",
            "url": "http://127.0.0.1:9",
            "file_path": f"{folder}/a.txt",
        }
        for task_id, path in (("..", "%2E%2E"), ("a/b ?", "a%2Fb%20%3F")):
            body = json.dumps({"worker": worker, "task_id": task_id, **LATER})
            async with session.post("/api/work/v1/tasks", data=body, headers=JSON) as answer:
                assert answer.headers["Location"] == f"/api/work/v1/tasks/{path}"
            place = answer.url.with_path(f"/api/work/v1/tasks/{path}", encoded=True)
            async with session.get(place) as answer:
                assert (await answer.json())["task_id"] == task_id
