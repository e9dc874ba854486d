"""P9, F-13, C-18, S-346: a credential is resolved for each attempt, and is written down nowhere."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable
from pathlib import Path

import pytest
from tests.http.conftest import Made
from tests.http.peers import verdict

from outhaul import (
    ErrorCode,
    EventKind,
    NativeWorker,
    OuthaulError,
    RetryPolicy,
    Secret,
    WorkManager,
)
from outhaul.secrets import Provider
from outhaul.testing import Answer, FakeClock, FlakyServer
from outhaul.wire import SecretRef

CANARY = "canary-6b1f0c77-hunter22"
BEARER = f"Bearer {CANARY}"
TOKEN = {"Authorization": Secret.provider("token", prefix="Bearer ")}


async def provide_async() -> str:
    return CANARY


def provide() -> str:
    return CANARY


async def traces(manager: WorkManager, caplog: pytest.LogCaptureFixture) -> str:
    """Everything that outhaul has said or would show."""
    parts = [repr(manager), caplog.text]
    parts += [repr(event) async for event in manager.events(after=0, follow=False)]
    parts += [repr(record) for record in await manager.get_tasks_by_status()]
    return "\n".join(parts)


async def test_the_value_is_sent_and_kept_nowhere(
    tmp_path: Path, make: Made, clock: FakeClock, caplog: pytest.LogCaptureFixture
) -> None:
    """The server even repeats it, in an answer that fails."""
    caplog.set_level(logging.DEBUG)
    text = {"Content-Type": "text/plain"}
    script = [
        Answer(status=503, body=f"you are {BEARER}".encode(), headers=text),
        Answer(status=401, body=CANARY.encode(), headers=text),
    ]
    secrets: dict[str, Provider] = {"token": provide_async}
    async with (
        FlakyServer(script=script) as server,
        WorkManager(tmp_path / "store.db", secrets=secrets, clock=clock) as manager,
    ):
        worker = NativeWorker.http_upload(url=server.url, file_path=make(), headers=TOKEN)
        task = await manager.enqueue("x", worker)
        event = await verdict(task)
        assert (event.kind, event.http_status) == (EventKind.RETRY_SCHEDULED, 503)
        clock.advance(33)
        assert (await task.result()).http_status == 401
        assert [request.headers["Authorization"] for request in server.requests] == [BEARER] * 2
        said = await traces(manager, caplog)
        shown = f"{worker!r} {TOKEN!r} {task!r} {await manager.get_task('x')!r}"
    assert CANARY not in said
    assert CANARY not in shown
    stored = _stored(tmp_path)
    assert stored
    assert not any(CANARY.encode() in content for content in stored)
    assert any(b"token" in content for content in stored)  # the reference is


async def test_an_answer_that_repeats_it_is_kept_without_it(tmp_path: Path, make: Made) -> None:
    echo = Answer(body=f'{{"type": "Bearer", "you": "{BEARER}", "token": "{CANARY}"}}'.encode())
    async with (
        FlakyServer(script=[echo]) as server,
        WorkManager(tmp_path / "store.db", secrets={"token": provide}) as manager,
    ):
        worker = NativeWorker.http_upload(url=server.url, file_path=make(), headers=TOKEN)
        event = await (await manager.enqueue("x", worker)).result()
    assert event.result is not None
    stars = "*" * len(CANARY)
    assert event.result.body.decode() == (
        f'{{"type": "Bearer", "you": "{"*" * len(BEARER)}", "token": "{stars}"}}'
    )
    assert not any(CANARY.encode() in content for content in _stored(tmp_path))


def _stored(directory: Path) -> list[bytes]:
    """The database, its WAL and its shm, as they lie on the disk. Only once they are closed."""
    return [path.read_bytes() for path in directory.glob("store.db*")]


async def test_the_wal_of_a_process_that_runs_does_not_hold_it_either(
    tmp_path: Path, make: Made
) -> None:
    """Another process looks: opening the files here would drop SQLite's locks (DESIGN 9)."""
    store = tmp_path / "store.db"
    async with (
        FlakyServer(script=[Answer(delay_s=60)]) as server,
        WorkManager(store, secrets={"token": provide}) as manager,
    ):
        worker = NativeWorker.http_upload(url=server.url, file_path=make(), headers=TOKEN)
        await manager.enqueue("x", worker)
        await server.wait_requests()
        dumped = await asyncio.create_subprocess_exec(
            *("grep", "-rlc", CANARY, str(tmp_path)), stdout=asyncio.subprocess.DEVNULL
        )
        assert await dumped.wait() == 1  # nothing found


async def test_after_a_restart_the_upload_still_authenticates(tmp_path: Path, make: Made) -> None:
    """F-13: what was stored is the reference, and the new process resolves it."""
    server = FlakyServer(script=[Answer(delay_s=60)])
    store = tmp_path / "store.db"
    async with server:
        async with WorkManager(store, secrets={"token": provide}) as manager:
            worker = NativeWorker.http_upload(url=server.url, file_path=make(), headers=TOKEN)
            await manager.enqueue("x", worker)
            await server.wait_requests()
        async with WorkManager(store, secrets={"token": provide_async}) as manager:
            task = await manager.get_handle("x")
            assert task is not None
            assert (await task.result()).success
        seen = [request.headers["Authorization"] for request in server.requests]
    assert seen == [BEARER, BEARER]
    assert len({request.idempotency_key for request in server.requests}) == 1


async def test_every_attempt_asks_anew(tmp_path: Path, make: Made, clock: FakeClock) -> None:
    """S-159: a token that was renewed meanwhile is the one that is sent."""
    tokens = iter(["first-token", "second-token"])
    secrets: dict[str, Provider] = {"token": lambda: next(tokens)}
    async with (
        FlakyServer(script=[Answer(status=503)]) as server,
        WorkManager(tmp_path / "store.db", secrets=secrets, clock=clock) as manager,
    ):
        worker = NativeWorker.http_upload(url=server.url, file_path=make(), headers=TOKEN)
        task = await manager.enqueue("x", worker)
        await verdict(task)
        clock.advance(33)
        assert (await task.result()).success
        seen = [request.headers["Authorization"] for request in server.requests]
    assert seen == ["Bearer first-token", "Bearer second-token"]


@pytest.mark.parametrize("source", ["env", "file", "a function", "a coroutine function"])
async def test_a_secret_may_come_from(
    tmp_path: Path,
    server: FlakyServer,
    make: Made,
    monkeypatch: pytest.MonkeyPatch,
    source: str,
) -> None:
    monkeypatch.setenv("OUTHAUL_TEST_TOKEN", CANARY)
    path = make(f"{CANARY}\n".encode(), "token")
    secrets: dict[str, Provider] = {"sync": provide, "async": provide_async}
    reference = {
        "env": Secret.env("OUTHAUL_TEST_TOKEN", prefix="Bearer "),
        "file": Secret.file(path, prefix="Bearer "),
        "a function": Secret.provider("sync", prefix="Bearer "),
        "a coroutine function": Secret.provider("async", prefix="Bearer "),
    }[source]
    async with WorkManager(tmp_path / "store.db", secrets=secrets) as manager:
        headers: dict[str, str | SecretRef] = {"X-Plain": "seen", "Authorization": reference}
        worker = NativeWorker.http_upload(url=server.url, file_path=make(), headers=headers)
        assert (await (await manager.enqueue("x", worker)).result()).success
    (request,) = server.requests
    assert (request.headers["Authorization"], request.headers["X-Plain"]) == (BEARER, "seen")


def raises() -> str:
    raise RuntimeError(f"the vault said {CANARY}")


async def raises_async() -> str:
    raise RuntimeError(f"the vault said {CANARY}")


def no_text() -> Awaitable[str]:
    return 17  # type: ignore[return-value]  # the point


BAD: list[tuple[str, Callable[[], object] | None]] = [
    ("unheard-of", None),
    ("raises", raises),
    ("raises in a coroutine", raises_async),
    ("is no text", no_text),
    ("is empty", lambda: ""),
    ("breaks the line", lambda: f"{CANARY}\r\nX-Evil: 1"),
    ("has a NUL", lambda: f"{CANARY}\0"),
    ("is no UTF-8", lambda: f"{CANARY}\udcff"),
]


@pytest.mark.parametrize(("name", "provider"), BAD, ids=[name for name, _ in BAD])
async def test_a_secret_that_cannot_be_had_fails_without_being_told(
    tmp_path: Path,
    server: FlakyServer,
    make: Made,
    caplog: pytest.LogCaptureFixture,
    name: str,
    provider: Provider | None,
) -> None:
    secrets = {} if provider is None else {name: provider}
    async with WorkManager(tmp_path / "store.db", secrets=secrets) as manager:
        headers = {"Authorization": Secret.provider(name)}
        worker = NativeWorker.http_upload(url=server.url, file_path=make(), headers=headers)
        event = await (await manager.enqueue("x", worker, retry=RetryPolicy.NONE)).result()
        said = await traces(manager, caplog)
    assert (event.kind, event.error_code) == (EventKind.FAILED, ErrorCode.SECRET_UNAVAILABLE)
    assert name in event.message
    assert CANARY not in said
    assert not server.requests


async def test_a_missing_variable_is_named(
    manager: WorkManager, server: FlakyServer, make: Made, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("OUTHAUL_TEST_TOKEN", raising=False)
    headers = {"X-Api-Key": Secret.env("OUTHAUL_TEST_TOKEN")}
    worker = NativeWorker.http_upload(url=server.url, file_path=make(), headers=headers)
    event = await (await manager.enqueue("x", worker, retry=RetryPolicy.NONE)).result()
    assert event.error_code is ErrorCode.SECRET_UNAVAILABLE
    assert "OUTHAUL_TEST_TOKEN" in event.message


@pytest.mark.parametrize(
    "options",
    [
        pytest.param({"headers": {"Authorization": BEARER}}, id="a plain header"),
        pytest.param({"headers": {"Cookie": CANARY}}, id="a cookie"),
        pytest.param({"headers": {"X-Auth-Token": CANARY}}, id="a token"),
        pytest.param({"url": f"https://bob:{CANARY}@files.example/"}, id="in the address"),
    ],
)
async def test_a_secret_in_plain_text_is_refused_and_not_repeated(
    manager: WorkManager,
    make: Made,
    caplog: pytest.LogCaptureFixture,
    options: dict[str, object],
) -> None:
    arguments = {"url": "https://files.example/", "file_path": make()} | options
    worker = NativeWorker.http_upload(**arguments)  # type: ignore[arg-type]  # the table's
    assert CANARY not in repr(worker)
    with pytest.raises(OuthaulError) as refused:
        await manager.enqueue("x", worker)
    assert refused.value.code == "PLAIN_SECRET"
    assert "Secret.env" in refused.value.message
    assert CANARY not in f"{refused.value!r} {refused.value}"
    assert CANARY not in await traces(manager, caplog)
