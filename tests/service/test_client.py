"""The client answers what a manager answers, and raises what a manager raises."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import aclosing
from pathlib import Path
from typing import Any

import pytest
from tests.http.peers import RawServer, answer, head_of
from tests.service.kit import Service, ended

from outhaul import NativeWorker, PythonWorker, Task, TaskEvent, TaskStatus, TaskTrigger
from outhaul.errors import (
    AccessDeniedError,
    InvalidArgumentError,
    OuthaulError,
    PlainSecretError,
    SecurityViolationError,
    ServiceError,
    SourceNotFoundError,
)
from outhaul.service.client import Client
from outhaul.testing import FlakyServer

LATER = TaskTrigger.one_time(3600)


@pytest.fixture
async def client(service: Service) -> AsyncIterator[Client]:
    async with Client(service.url) as client:
        yield client


def task(name: str | None, tag: str | None = None) -> Task:
    return Task(name, PythonWorker("nobody", {"a": [1, None, "ä"]}), trigger=LATER, tag=tag)


async def collected(events: AsyncIterator[Any]) -> list[Any]:
    return [event async for event in events]


async def up_to_the_end(events: AsyncIterator[TaskEvent]) -> AsyncIterator[TaskEvent]:
    async for event in events:
        yield event
        if event.is_terminal:
            return


QUESTIONS: list[Callable[[Any], Awaitable[object]]] = [
    lambda works: works.get_task("a/b ?#ä"),
    lambda works: works.get_task("nobody"),
    lambda works: works.get_tasks_by_tag("t"),
    lambda works: works.get_tasks_by_tag("t", statuses=[TaskStatus.CANCELLED]),
    lambda works: works.get_tasks_by_status(TaskStatus.PENDING),
    lambda works: works.get_tasks_by_status(),
    lambda works: works.stats(),
    lambda works: collected(works.events(after=0, follow=False)),
    lambda works: collected(works.events(after=3, tag="t", follow=False)),
    lambda works: collected(works.events(after=0, task_id="a/b ?#ä", follow=False)),
    lambda works: collected(works.events(after=0, prefix="x", follow=False)),
]


async def test_it_answers_what_the_manager_answers(service: Service, client: Client) -> None:
    tasks = [task("a/b ?#ä", "t"), *(task(f"x{number}", "t") for number in range(600)), task(None)]
    handles = await client.enqueue_all(tasks)
    assert [handle.task_id for handle in handles[:2]] == ["a/b ?#ä", "x0"]
    assert await client.cancel("x1")
    assert not await client.cancel("x1")
    for ask in QUESTIONS:
        assert await ask(client) == await ask(service.manager)
    assert await client.cancel_by_tag("t") == 600
    assert await client.cancel_all() == 1


async def test_the_end_of_a_task_and_its_progress_come_from_afar(
    service: Service, client: Client, server: FlakyServer
) -> None:
    path = service.root / "a.txt"
    (scheduled,) = await client.enqueue_all(
        [Task("u", NativeWorker.http_upload(url=server.url, file_path=path))]
    )
    async with asyncio.timeout(10), aclosing(client.events(after=0, task_id="u")) as events:
        (end,) = [event async for event in up_to_the_end(events)][-1:]
        assert (end.success, end.key) == (True, scheduled.key)
        assert end == await ended(service.manager, "u")
        async with aclosing(client.progress(task_id="u")) as updates:
            assert (await anext(updates)).percent == 100


async def test_what_a_callback_is_given_arrives(service: Service, client: Client) -> None:
    got = []

    @service.manager.worker("note")
    async def note(value: object, _: object) -> bool:
        got.append(value)
        return True

    (handle,) = await client.enqueue_all([Task(None, PythonWorker("note", {"a": [1, 2.5, "ä"]}))])
    assert (await ended(service.manager, handle.task_id)).success
    assert got == [{"a": [1, 2.5, "ä"]}]


@pytest.mark.parametrize(
    ("worker", "kind", "argument"),
    [
        ({"file_path": "/nowhere"}, SecurityViolationError, "tasks[0].file_path"),
        ({"file_path": "{root}/none"}, SourceNotFoundError, "tasks[0].file_path"),
        ({"url": "ftp://x/"}, InvalidArgumentError, "tasks[0].url"),
        ({"headers": {"Cookie": "a=b"}}, PlainSecretError, 'tasks[0].headers["Cookie"]'),
    ],
    ids=str,
)
async def test_a_refusal_is_the_same_class_as_at_home(
    service: Service,
    client: Client,
    worker: dict[str, Any],
    kind: type[OuthaulError],
    argument: str,
) -> None:
    root = str(service.root)
    given = {"url": "https://example.com/", "file_path": f"{root}/a.txt", **worker}
    given["file_path"] = given["file_path"].replace("{root}", root)
    with pytest.raises(kind) as refused:
        await client.enqueue_all([Task(None, NativeWorker.http_upload(**given))])
    assert (type(refused.value), refused.value.argument) == (kind, argument)


async def test_a_token_is_wanted_or_another_one(tmp_path: Path, folder: Path) -> None:
    async with Service(tmp_path / "w.db", folder, token="x" * 16) as service:
        for token in (None, "y" * 16):
            async with Client(service.url, token=token) as client:
                with pytest.raises(AccessDeniedError):
                    await client.stats()
                with pytest.raises(AccessDeniedError):
                    await anext(client.events(after=0))
        async with Client(service.url + "/", token="x" * 16) as client:
            assert (await client.stats()).live == 0


@pytest.mark.parametrize("said", [b"<html>", b"{}", b'{"pending": "many"}'])
@pytest.mark.parametrize("status", ["200 OK", "404 Not Found", "500 Internal Server Error"])
async def test_a_server_that_is_none_of_ours_is_called_so(status: str, said: bytes) -> None:
    async def speak(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await head_of(reader)
        writer.write(answer(status, said, "Connection: close"))
        await writer.drain()

    async with RawServer(speak) as server, Client(f"http://127.0.0.1:{server.port}") as client:
        if (status, said) == ("200 OK", b"{}"):
            await client.stats()  # all of it has defaults
        else:
            with pytest.raises(ServiceError):
                await client.stats()


async def test_it_gives_up_on_a_stream_that_never_comes_back(
    tmp_path: Path, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("outhaul.service.patience.RECONNECT_AFTER_S", 0.01)
    service = Service(tmp_path / "w.db", folder)
    async with Client("http://127.0.0.1:1") as nowhere:
        with pytest.raises(ServiceError, match="cannot be reached"):
            await anext(nowhere.events(after=0))
    async with service:
        assert service.port
    with pytest.raises(ServiceError, match="not open"):
        await Client(service.url).stats()
