"""The service in a user's own application: under a prefix, begun and ended with it."""

from __future__ import annotations

import json
from pathlib import Path

import aiohttp
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
