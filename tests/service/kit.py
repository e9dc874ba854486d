"""A service that a test starts, stops and asks; and what it reads of a stream."""

from __future__ import annotations

import asyncio
import io
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any, NamedTuple, Self

import aiohttp
from aiohttp import web

from outhaul import AddressPolicy, Retention, TaskEvent, WorkManager
from outhaul.options import RETENTION_DEFAULT
from outhaul.service import create_app

NOWHERE = "http://127.0.0.1:9/"
LOOPBACK = AddressPolicy.strict(allow=["127.0.0.0/8"])
JSON = {"Content-Type": "application/json"}


class Answer(NamedTuple):
    status: int
    body: Any
    headers: Any

    @property
    def field(self) -> str | None:
        assert self.headers["Content-Type"] == "application/problem+json"
        assert self.body["detail"]
        assert self.body["status"] == self.status
        field: str | None = self.body.get("field")
        return field


class Service:
    """A manager, the application over it, and a session to ask with."""

    def __init__(
        self,
        db: Path,
        root: Path,
        *,
        port: int = 0,
        address_policy: AddressPolicy = LOOPBACK,
        run: bool = True,
        retention: Retention = RETENTION_DEFAULT,
        **options: Any,  # noqa: ANN401 — those of create_app
    ) -> None:
        self.manager = WorkManager(
            db,
            allowed_roots=[root],
            address_policy=address_policy,
            durability="os",
            run=run,
            retention=retention,
            workers="elsewhere",
        )
        self.root = root
        self.port = port
        self._options = options
        self._runner: web.AppRunner | None = None
        self._session: aiohttp.ClientSession | None = None

    async def __aenter__(self) -> Self:
        app = create_app(self.manager, **self._options)
        self._runner = web.AppRunner(app, access_log=None, shutdown_timeout=0.1, lingering_time=0.1)
        await self._runner.setup()
        await web.TCPSite(self._runner, "127.0.0.1", self.port).start()
        self.port = self._runner.addresses[0][1]
        self._session = aiohttp.ClientSession(self.url)
        return self

    async def __aexit__(self, *_: object) -> None:
        assert self._runner is not None
        await self.session.close()
        await self._runner.cleanup()

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    @property
    def session(self) -> aiohttp.ClientSession:
        assert self._session is not None
        return self._session

    async def ask(self, method: str, path: str, **more: Any) -> Answer:  # noqa: ANN401 — aiohttp's
        async with self.session.request(method, path, **more) as response:
            text = await response.text()
            body = json.loads(text) if "json" in response.content_type else text
            return Answer(response.status, body, response.headers)

    async def enqueue(self, task: object, **more: Any) -> Answer:  # noqa: ANN401 — aiohttp's
        data = task if isinstance(task, bytes) else json.dumps(task).encode()
        return await self.ask("POST", "/v1/tasks", data=io.BytesIO(data), headers=JSON, **more)

    def upload(self, url: str, path: object = None, **worker: Any) -> dict[str, Any]:  # noqa: ANN401 — JSON
        file_path = str(self.root / "a.txt" if path is None else path)
        return {"worker": {"type": "http_upload", "url": url, "file_path": file_path, **worker}}

    @asynccontextmanager
    async def stream(
        self,
        path: str = "/v1/events",
        **more: Any,  # noqa: ANN401 — aiohttp's
    ) -> AsyncIterator[AsyncIterator[Said]]:
        async with self.session.get(path, **more) as response:
            assert response.status == 200, await response.text()
            assert response.content_type == "text/event-stream"
            yield said(response)


class Said(NamedTuple):
    """One event of a stream, or a heartbeat (`kind` is empty)."""

    id: int | None
    kind: str
    data: Any


async def said(response: aiohttp.ClientResponse) -> AsyncIterator[Said]:
    """Reads as a browser does. SOURCE: WHATWG HTML §9.2.6."""
    fields: dict[str, str] = {}
    async for raw in response.content:
        line = raw.decode().rstrip("\n")
        name, _, value = line.partition(": ")
        if line == ":":
            yield Said(None, "", None)
        elif line:
            fields[name] = value
        elif "data" in fields:
            number = int(fields["id"]) if "id" in fields else None
            yield Said(number, fields["event"], json.loads(fields["data"]))
            fields = {}


async def is_untouched(service: Service) -> bool:
    stats = await service.manager.stats()
    return stats.live == stats.finished == stats.last_event == 0


async def ending(service: Service, task: dict[str, Any]) -> TaskEvent:
    answer = await service.enqueue(task)
    assert answer.status == 201, answer
    return await ended(service.manager, answer.body["task_id"])


async def ended(manager: WorkManager, task_id: str) -> TaskEvent:
    """How a task has ended, once it has."""
    handle = await manager.get_handle(task_id)
    assert handle is not None
    return await asyncio.wait_for(handle.result(), 10)
