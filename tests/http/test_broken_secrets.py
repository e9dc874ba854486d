"""Secrets that break, hang, or end the process: what becomes of the attempt, and of others."""

from __future__ import annotations

import asyncio
import errno
import os
import threading
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path

import pytest
from tests.http.conftest import Made
from tests.http.peers import verdict

from outhaul import (
    ErrorCode,
    EventKind,
    NativeWorker,
    PythonWorker,
    RetryPolicy,
    Secret,
    Task,
    TaskContext,
    TaskEvent,
    WorkManager,
    secret_lookup,
)
from outhaul.testing import FlakyServer
from outhaul.wire import SecretRef

VALUE = "hunter22"
SECRET_BYTES_MAX = 64 * 1024


def sends(server: FlakyServer, path: Path, ref: SecretRef) -> NativeWorker:
    return NativeWorker.http_upload(url=server.url, file_path=path, headers={"X-Api-Key": ref})


class Broken(Mapping[str, Callable[[], str]]):
    """Providers that cannot even be looked up, and say too much about it."""

    def __getitem__(self, name: str) -> Callable[[], str]:
        raise ValueError(VALUE)

    def __iter__(self) -> Iterator[str]:
        return iter(())

    def __len__(self) -> int:
        return 0


async def test_secrets_that_break_end_the_attempt_and_tell_nothing_of_the_error_s_text(
    tmp_path: Path, make: Made, server: FlakyServer
) -> None:
    async with WorkManager(tmp_path / "w.db", secrets=Broken()) as manager:
        worker = sends(server, make(), Secret.provider("p"))
        event = await asyncio.wait_for(verdict(await manager.enqueue("x", worker)), 5)
    assert event.kind is EventKind.FAILED  # it is a mistake, and another attempt would bring it
    assert event.error_code is ErrorCode.SECRET_UNAVAILABLE
    assert "ValueError" in event.message
    assert VALUE not in event.message


async def test_a_callback_runs_while_providers_hang(
    tmp_path: Path, make: Made, server: FlakyServer
) -> None:
    """As many as attempts may run: then one of these is given up, and its provider hangs on."""
    let_go, asked = threading.Event(), threading.Semaphore(0)

    def hangs() -> str:
        asked.release()
        let_go.wait(20)
        return VALUE

    def plain(_: object, __: TaskContext) -> int:
        return 5

    async with WorkManager(
        tmp_path / "w.db", max_concurrent=2, secrets={"hangs": hangs}, workers={"plain": plain}
    ) as manager:
        worker = sends(server, make(), Secret.provider("hangs"))
        uploads = await manager.enqueue_all([Task(None, worker) for _ in range(2)])
        for _ in uploads:
            assert await asyncio.to_thread(asked.acquire, timeout=5)
        await uploads[0].cancel()
        task = await manager.enqueue(None, PythonWorker("plain"))
        try:
            assert (await asyncio.wait_for(task.result(), 5)).success
        finally:
            let_go.set()


async def test_a_provider_that_is_asked_at_the_close_is_cancelled(
    tmp_path: Path, make: Made, server: FlakyServer
) -> None:
    asked, ended = asyncio.Event(), asyncio.Event()

    async def provider() -> str:
        asked.set()
        try:
            await asyncio.Event().wait()
        finally:
            ended.set()
        return VALUE

    async with WorkManager(tmp_path / "w.db", secrets={"p": provider}) as manager:
        await manager.enqueue("x", sends(server, make(), Secret.provider("p")))
        await asyncio.wait_for(asked.wait(), 5)
    assert ended.is_set()


def test_a_provider_in_which_the_process_is_interrupted_ends_it_and_it_was_no_attempt(
    tmp_path: Path, make: Made
) -> None:
    is_first = True

    async def provider() -> str:
        nonlocal is_first
        if is_first:
            is_first = False
            raise KeyboardInterrupt
        return VALUE

    async def work() -> None:
        # What nobody handles is told to the loop, too.
        asyncio.get_running_loop().set_exception_handler(lambda *_: None)
        async with (
            FlakyServer() as server,
            WorkManager(tmp_path / "w.db", secrets={"p": provider}) as manager,
        ):
            worker = sends(server, make(), Secret.provider("p"))
            task = await manager.enqueue("x", worker, retry=RetryPolicy.NONE)
            await asyncio.wait_for(task.result(), 5)

    async def happened() -> set[EventKind]:
        async with WorkManager(tmp_path / "w.db", run=False) as manager:
            return {event.kind async for event in manager.events(after=0, follow=False)}

    with pytest.raises(KeyboardInterrupt):
        asyncio.run(work())
    kinds = asyncio.run(happened())
    assert EventKind.STARTED in kinds
    assert not {EventKind.FAILED, EventKind.RETRY_SCHEDULED} & kinds


def test_a_provider_that_exits_the_process_has_had_its_attempt(tmp_path: Path, make: Made) -> None:
    """One that does so each time would else be asked for ever."""

    async def provider() -> str:
        raise SystemExit(3)

    async def work() -> None:
        asyncio.get_running_loop().set_exception_handler(lambda *_: None)
        async with (
            FlakyServer() as server,
            WorkManager(tmp_path / "w.db", secrets={"p": provider}) as manager,
        ):
            worker = sends(server, make(), Secret.provider("p"))
            await (await manager.enqueue("x", worker, retry=RetryPolicy.NONE)).result()
            await asyncio.Event().wait()

    async def happened() -> list[TaskEvent]:
        async with WorkManager(tmp_path / "w.db", run=False) as manager:
            return [event async for event in manager.events(after=0, follow=False)]

    with pytest.raises(SystemExit):
        asyncio.run(work())
    (*_, last) = asyncio.run(happened())
    assert (last.kind, last.error_code) == (EventKind.FAILED, ErrorCode.SECRET_UNAVAILABLE)


async def test_a_provider_that_says_that_its_loop_is_gone_has_had_its_attempt(
    tmp_path: Path, make: Made, server: FlakyServer
) -> None:
    """A `GeneratorExit` from without is no attempt; this one is its own."""
    asked = 0

    async def provider() -> str:
        nonlocal asked
        asked += 1
        raise GeneratorExit

    asyncio.get_running_loop().set_exception_handler(lambda *_: None)
    async with WorkManager(tmp_path / "w.db", secrets={"p": provider}) as manager:
        worker = sends(server, make(), Secret.provider("p"))
        task = await manager.enqueue("x", worker, retry=RetryPolicy.NONE)
        event = await asyncio.wait_for(task.result(), 5)
    assert (event.kind, asked) == (EventKind.FAILED, 1)


async def test_a_provider_that_cancels_who_asks_is_asked_again_by_the_policy(
    tmp_path: Path, make: Made, server: FlakyServer
) -> None:
    async def provider() -> str:
        this = asyncio.current_task()
        assert this is not None
        asyncio.get_running_loop().call_soon(this.cancel)
        await asyncio.Event().wait()
        return VALUE

    async with WorkManager(tmp_path / "w.db", secrets={"p": provider}) as manager:
        task = await manager.enqueue("x", sends(server, make(), Secret.provider("p")))
        async with asyncio.timeout(5):
            kinds = []
            async for event in task.events():
                kinds.append(event.kind)
                if event.kind not in {EventKind.ENQUEUED, EventKind.STARTED, EventKind.INTERRUPTED}:
                    break
    assert kinds[-1] is EventKind.RETRY_SCHEDULED
    assert "cancelled" in event.message


async def test_a_provider_whose_time_is_up_is_cancelled(
    tmp_path: Path, make: Made, server: FlakyServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(secret_lookup, "RESOLVE_TIMEOUT_S", 0.05)
    ended = asyncio.Event()

    async def provider() -> str:
        try:
            await asyncio.Event().wait()
        finally:
            ended.set()
        return VALUE

    async with WorkManager(tmp_path / "w.db", secrets={"p": provider}) as manager:
        await manager.enqueue("x", sends(server, make(), Secret.provider("p")))
        async with asyncio.timeout(5):
            await ended.wait()


@pytest.mark.parametrize(
    ("more", "is_taken"),
    [pytest.param(0, True, id="the largest"), pytest.param(1, False, id="one byte more")],
)
async def test_a_secret_s_file_is_read_up_to_its_bound(
    tmp_path: Path, make: Made, server: FlakyServer, more: int, *, is_taken: bool
) -> None:
    """What the server then says to a header of that size is its own affair."""
    token = make(b"x" * (SECRET_BYTES_MAX + more), "token")
    async with WorkManager(tmp_path / "w.db") as manager:
        worker = sends(server, make(), Secret.file(token))
        event = await verdict(await manager.enqueue("x", worker, retry=RetryPolicy.NONE))
    assert (event.error_code is not ErrorCode.SECRET_UNAVAILABLE) is is_taken, event
    assert (f"longer than {SECRET_BYTES_MAX} bytes" in event.message) is not is_taken


def descriptors() -> int:
    return len(os.listdir("/proc/self/fd"))


async def test_what_is_no_regular_file_leaves_no_descriptor(
    tmp_path: Path, make: Made, server: FlakyServer
) -> None:
    if not os.path.exists("/proc/self/fd"):
        pytest.skip(os.strerror(errno.ENOSYS))
    worker = sends(server, make(), Secret.file(tmp_path))
    async with WorkManager(tmp_path / "w.db") as manager:
        counts = []
        for _ in range(3):
            task = await manager.enqueue(None, worker)
            assert (await verdict(task)).kind is EventKind.FAILED
            counts.append(descriptors())
    assert counts[1] == counts[2]
