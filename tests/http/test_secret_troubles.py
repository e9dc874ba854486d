"""What becomes of an attempt whose secret cannot be had: another one later, or the end."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Final

import pytest
from tests.http.conftest import Made
from tests.http.peers import verdict

from outhaul import (
    ErrorCode,
    EventKind,
    NativeWorker,
    RetryPolicy,
    Secret,
    Task,
    WorkManager,
    secret_lookup,
)
from outhaul.testing import FakeClock, FlakyServer
from outhaul.wire import SecretRef

VALUE: Final = "hunter22"


class Vault:
    """A provider with bad days: what it does is a matter of how often it was asked."""

    def __init__(self) -> None:
        self.asked = 0
        self.let_go = threading.Event()

    def raises(self) -> str:
        self.asked += 1
        if self.asked == 1:
            raise ConnectionError("the vault is sealed")
        return VALUE

    def panics(self) -> str:
        self.asked += 1
        if self.asked == 1:
            raise BaseExceptionGroup("sealed", [GeneratorExit()])
        return VALUE

    def stops(self) -> str:
        self.asked += 1
        if self.asked == 1:
            raise StopIteration("sealed")
        return VALUE

    async def never_answers(self) -> str:
        self.asked += 1
        if self.asked == 1:
            await asyncio.Event().wait()
        return VALUE

    def hangs(self) -> str:
        self.asked += 1
        if self.asked == 1:
            self.let_go.wait(20)
        return VALUE


@pytest.mark.parametrize(
    ("trouble", "said"),
    [
        pytest.param(Vault.raises, "raised ConnectionError", id="raises"),
        pytest.param(Vault.panics, "raised BaseExceptionGroup", id="raises no Exception"),
        pytest.param(Vault.stops, "raised RuntimeError", id="raises StopIteration"),
        pytest.param(Vault.never_answers, "within 0.1 s", id="never answers"),
        pytest.param(Vault.hangs, "within 0.1 s", id="never returns"),
    ],
)
async def test_an_attempt_without_its_secret_is_made_again(
    tmp_path: Path,
    make: Made,
    clock: FakeClock,
    server: FlakyServer,
    monkeypatch: pytest.MonkeyPatch,
    trouble: Callable[[Vault], str],
    said: str,
) -> None:
    monkeypatch.setattr(secret_lookup, "RESOLVE_TIMEOUT_S", 0.1)
    vault = Vault()
    providers = {"vault": trouble.__get__(vault)}
    headers = {"X-Api-Key": Secret.provider("vault")}
    async with WorkManager(tmp_path / "w.db", secrets=providers, clock=clock) as manager:
        worker = NativeWorker.http_upload(url=server.url, file_path=make(), headers=headers)
        task = await manager.enqueue("x", worker)
        event = await verdict(task)
        assert (event.kind, event.error_code) == (
            EventKind.RETRY_SCHEDULED,
            ErrorCode.SECRET_UNAVAILABLE,
        )
        assert said in event.message
        assert "sealed" not in event.message
        clock.advance(33)
        assert ((await task.result()).success, vault.asked) == (True, 2)
    vault.let_go.set()
    (request,) = server.requests
    assert request.headers["X-Api-Key"] == VALUE


@pytest.mark.parametrize("often", [1, 2, 1000])
async def test_a_cancellation_of_who_asks_is_no_attempt_unless_it_comes_again(
    tmp_path: Path, make: Made, server: FlakyServer, often: int
) -> None:
    """A program that ends cancels all it has; a provider that cancels who asks does so always."""
    asked = 0

    async def provider() -> str:
        nonlocal asked
        asked += 1
        this = asyncio.current_task()
        assert this is not None
        if asked <= often:
            asyncio.get_running_loop().call_soon(this.cancel)
            await asyncio.sleep(5)
        return VALUE

    headers = {"X-Api-Key": Secret.provider("vault")}
    async with WorkManager(tmp_path / "w.db", secrets={"vault": provider}) as manager:
        worker = NativeWorker.http_upload(url=server.url, file_path=make(), headers=headers)
        task = await manager.enqueue("x", worker, retry=RetryPolicy.NONE)
        event = await task.result()
    assert asked == 2
    assert event.kind is (EventKind.COMPLETED if often == 1 else EventKind.FAILED)


async def test_an_attempt_whose_secret_s_file_is_not_there_yet_is_made_again(
    manager: WorkManager, make: Made, clock: FakeClock, server: FlakyServer, tmp_path: Path
) -> None:
    headers = {"X-Api-Key": Secret.file(tmp_path / "token")}
    worker = NativeWorker.http_upload(url=server.url, file_path=make(), headers=headers)
    task = await manager.enqueue("x", worker)
    assert (await verdict(task)).kind is EventKind.RETRY_SCHEDULED
    make(VALUE.encode(), "token")
    clock.advance(33)
    assert (await task.result()).success


@pytest.mark.parametrize(
    "ref",
    [
        pytest.param(Secret.provider("lines"), id="a value that no header can carry"),
    ],
)
async def test_a_secret_that_will_never_come_is_the_end_at_once(
    tmp_path: Path, make: Made, server: FlakyServer, ref: SecretRef
) -> None:
    providers = {"lines": lambda: "two\nlines"}
    async with WorkManager(tmp_path / "w.db", secrets=providers) as manager:
        worker = NativeWorker.http_upload(
            url=server.url, file_path=make(), headers={"X-Api-Key": ref}
        )
        event = await verdict(await manager.enqueue("x", worker))
    assert (event.kind, event.attempt) == (EventKind.FAILED, 1)
    assert event.error_code is ErrorCode.SECRET_UNAVAILABLE


async def test_a_provider_that_another_process_has_is_asked_for_again(
    tmp_path: Path, make: Made, server: FlakyServer, clock: FakeClock
) -> None:
    headers = {"X-Api-Key": Secret.provider("vault")}
    async with WorkManager(tmp_path / "w.db", clock=clock) as manager:
        worker = NativeWorker.http_upload(url=server.url, file_path=make(), headers=headers)
        event = await verdict(await manager.enqueue("x", worker))
        assert event.kind is EventKind.RETRY_SCHEDULED
        assert "provider:vault has no provider in this process" in event.message
    providers = {"vault": lambda: VALUE}
    async with WorkManager(tmp_path / "w.db", secrets=providers, clock=clock) as manager:
        clock.advance(33)
        task = await manager.get_handle("x")
        assert task is not None
        assert (await task.result()).success


async def test_providers_that_never_return_hold_up_nobody_else(
    tmp_path: Path, make: Made, server: FlakyServer
) -> None:
    """Neither the threads of the loop nor those of callbacks; nor the close."""
    asyncio.get_running_loop().set_default_executor(ThreadPoolExecutor(1))
    let_go, asked = threading.Event(), threading.Semaphore(0)

    def hangs() -> str:
        asked.release()
        let_go.wait(20)
        return VALUE

    headers = {"X-Api-Key": Secret.provider("hangs")}
    async with WorkManager(tmp_path / "w.db", secrets={"hangs": hangs}) as manager:
        worker = NativeWorker.http_upload(url=server.url, file_path=make(), headers=headers)
        await manager.enqueue_all([Task(None, worker) for _ in range(4)])
        for _ in range(4):
            assert await asyncio.wait_for(asyncio.to_thread(asked.acquire, timeout=5), 5)
        await asyncio.wait_for(manager.close(), 5)
    let_go.set()
