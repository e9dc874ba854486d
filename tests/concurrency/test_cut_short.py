"""Callbacks that are cut short, and callbacks that cannot run: what the core is told of each."""

from __future__ import annotations

import asyncio
import contextlib
import contextvars
import gc
import logging
import subprocess
import sys
import threading
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import Any, cast

import pytest
from tests.concurrency.test_stopping import Reports

from outhaul import EventKind, PythonWorker, RetryPolicy, TaskContext, TaskStatus, WorkManager
from outhaul.bridge import Bridge
from outhaul.callbacks import Callbacks

Callback = Callable[[Any, TaskContext], Any]
Run = Callable[[Callback], tuple[Callbacks, Reports]]


def opened(work: Callback) -> tuple[Callbacks, Reports]:
    """A callback that has just been called: attempt 1 at task 1."""
    callbacks, reports = Callbacks({"work": work}), Reports()
    callbacks.announce()
    callbacks.open(cast("Bridge", reports), threads_max=1)
    callbacks.run(1, 1, "work", b"\xc0", "x")
    return callbacks, reports


@pytest.fixture
async def run() -> AsyncIterator[Run]:
    made: list[Callbacks] = []

    def run(work: Callback) -> tuple[Callbacks, Reports]:
        callbacks, reports = opened(work)
        made.append(callbacks)
        return callbacks, reports

    yield run
    for callbacks in made:
        await callbacks.close()


async def told(reports: Reports, number: int = 1) -> list[tuple[Any, ...]]:
    async with asyncio.timeout(5):
        while len(reports.told) < number:
            await asyncio.sleep(0.001)
    return reports.told


async def fails_soon() -> None:
    await asyncio.sleep(0.001)
    raise ValueError


async def in_a_timeout(unwinding: asyncio.Event) -> None:
    async with asyncio.timeout(0.001):
        await tidies_up(unwinding)


async def in_a_group(unwinding: asyncio.Event) -> None:
    async with asyncio.TaskGroup() as group:
        group.create_task(fails_soon())
        await tidies_up(unwinding)


async def tidies_up(unwinding: asyncio.Event) -> None:
    try:
        await asyncio.Event().wait()
    finally:
        unwinding.set()
        await asyncio.sleep(5)


@pytest.mark.parametrize("scope", [in_a_timeout, in_a_group])
async def test_a_stop_while_a_scope_unwinds_is_not_lost_with_what_the_scope_raises(
    run: Run, scope: Callable[[asyncio.Event], Any]
) -> None:
    unwinding = asyncio.Event()

    async def work(_: object, __: TaskContext) -> None:
        with contextlib.suppress(TimeoutError, ExceptionGroup):
            await scope(unwinding)
        await asyncio.Event().wait()

    callbacks, reports = run(work)
    await unwinding.wait()
    callbacks.stop(1, 1, "cancelled")
    assert await told(reports) == [("interrupted", 1, 1)]


async def test_a_coroutine_that_is_to_stop_is_told_why(run: Run) -> None:
    begun, reasons = asyncio.Event(), []

    async def work(_: object, __: TaskContext) -> None:
        begun.set()
        try:
            await asyncio.Event().wait()
        except asyncio.CancelledError as stopped:
            reasons.append(stopped.args)
            raise

    callbacks, reports = run(work)
    await begun.wait()
    callbacks.stop(1, 1, "constraint_lost")
    assert await told(reports) == [("interrupted", 1, 1)]
    assert reasons == [("constraint_lost",)]


async def test_a_function_that_is_stopped_and_returns_a_coroutine_has_it_closed_unawaited(
    run: Run,
) -> None:
    begun, let_go = threading.Event(), threading.Event()
    coroutines = []

    async def the_rest() -> None:
        raise AssertionError("it ran")

    def work(_: object, __: TaskContext) -> object:
        begun.set()
        assert let_go.wait(5)
        coroutines.append(the_rest())
        return coroutines[0]

    callbacks, reports = run(work)
    assert await asyncio.to_thread(begun.wait, 5)
    callbacks.stop(1, 1, "cancelled")
    let_go.set()
    assert await told(reports) == [("interrupted", 1, 1)]
    with pytest.raises(RuntimeError, match="cannot reuse"):
        coroutines[0].send(None)


async def test_a_function_that_is_cancelled_by_somebody_and_then_stopped_is_waited_for(
    run: Run,
) -> None:
    begun, let_go = threading.Event(), threading.Event()

    def work(_: object, __: TaskContext) -> str:
        begun.set()
        assert let_go.wait(5)
        return "done"

    before = asyncio.all_tasks()
    callbacks, reports = run(work)
    (task,) = asyncio.all_tasks() - before
    assert await asyncio.to_thread(begun.wait, 5)
    task.cancel()
    await asyncio.sleep(0)
    callbacks.stop(1, 1, "shutdown")
    await asyncio.sleep(0.01)
    assert reports.told == []
    let_go.set()
    assert await told(reports) == [("succeeded", 1, 1, b"\xa4done")]


def test_a_callback_whose_event_loop_goes_away_is_interrupted() -> None:
    async def work(_: object, __: TaskContext) -> None:
        await asyncio.Event().wait()

    async def begin() -> tuple[Callbacks, Reports]:
        made = opened(work)
        await asyncio.sleep(0)
        return made

    loop = asyncio.new_event_loop()
    callbacks, reports = loop.run_until_complete(begin())
    (left,) = asyncio.all_tasks(loop)
    left._log_destroy_pending = False  # type: ignore[attr-defined]  # it is so on purpose
    loop.close()
    del left, callbacks
    gc.collect()
    assert reports.told == [("interrupted", 1, 1)]


@pytest.mark.parametrize("error", [SystemExit(7), KeyboardInterrupt(7), GeneratorExit(7)])
async def test_a_function_that_would_end_the_process_has_failed(
    run: Run, error: BaseException
) -> None:
    """A thread cannot end a process."""

    def work(_: object, __: TaskContext) -> None:
        raise error

    _, reports = run(work)
    said = f"RuntimeError: raised {type(error).__name__}: 7"
    assert await told(reports) == [("failed", 1, 1, said, True)]


async def test_a_callback_is_reported_although_a_handler_of_the_log_raises(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    class Broken(logging.Handler):
        def emit(self, _: logging.LogRecord) -> None:
            raise OSError("the log's disk is full")

    async def work(_: object, __: TaskContext) -> None:
        raise ValueError("no such row")

    logger = logging.getLogger("outhaul.callbacks")
    monkeypatch.setattr(logger, "handlers", [Broken()])
    asyncio.get_running_loop().set_exception_handler(lambda *_: None)  # it is told of that
    async with WorkManager(tmp_path / "w.db", workers={"work": work}) as manager:
        task = await manager.enqueue("x", PythonWorker("work"), retry=RetryPolicy.NONE)
        event = await asyncio.wait_for(task.result(), 5)
    assert (event.kind, event.message) == (EventKind.FAILED, "ValueError: no such row")


WHO = contextvars.ContextVar("WHO", default="nobody")


@pytest.mark.parametrize("kind", ["a coroutine function", "a plain function"])
async def test_a_callback_sees_the_context_variables_of_the_opening(
    tmp_path: Path, kind: str
) -> None:
    def plain(_: object, __: TaskContext) -> str:
        return WHO.get()

    async def asynchronous(_: object, __: TaskContext) -> str:
        return WHO.get()

    WHO.set("the opener")
    workers: dict[str, Callback] = {"a plain function": plain, "a coroutine function": asynchronous}
    async with WorkManager(tmp_path / "w.db", workers={"work": workers[kind]}) as manager:
        event = await (await manager.enqueue("x", PythonWorker("work"))).result()
    assert event.result is not None
    assert event.result.value == "the opener"


def no_thread_can_be_had(monkeypatch: pytest.MonkeyPatch, message: str) -> None:
    def fails(_: threading.Thread) -> None:
        raise RuntimeError(message)

    monkeypatch.setattr(threading.Thread, "start", fails)


async def test_a_function_for_which_no_thread_can_be_had_is_tried_again_and_never_run_unasked(
    run: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    calls = []
    with monkeypatch.context() as short_of_threads:
        no_thread_can_be_had(short_of_threads, "can't start new thread")
        callbacks, reports = run(lambda _, context: calls.append(context.attempt))
        said = "NoThreadError: can't start new thread"
        assert await told(reports) == [("failed", 1, 1, said, True)]
    callbacks.run(1, 2, "work", b"\xc0", "x")
    assert (await told(reports, 2))[1] == ("succeeded", 1, 2, b"\xc0")
    assert calls == [2]


async def test_a_function_that_the_end_of_the_interpreter_keeps_from_running_is_interrupted(
    run: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    """And no more is claimed, else it would be claimed again at once, and again."""
    no_thread_can_be_had(monkeypatch, "cannot schedule new futures after interpreter shutdown")
    _, reports = run(lambda _, __: None)
    assert await told(reports, 2) == [("interrupted", 1, 1), ("claim_no_more",)]


PROCESS_THAT_ENDS_UNDER_ITS_LOOP = """
import asyncio, sys, threading, time
from outhaul import NativeWorker, PythonWorker, RetryPolicy, Secret, TaskTrigger, WorkManager

store, file, secret = sys.argv[1:]
ready = threading.Event()

async def main():
    async with WorkManager(store, workers={"work": lambda _, __: "done"}) as manager:
        later = {"trigger": TaskTrigger.one_time(0.3), "retry": RetryPolicy.NONE}
        upload = NativeWorker.http_upload(
            url="http://127.0.0.1:9/", file_path=file, headers={"X-Api-Key": Secret.file(secret)}
        )
        await manager.enqueue("upload", upload, **later)
        await manager.enqueue("function", PythonWorker("work"), **later)
        ready.set()
        async for event in manager.events(after=0):
            if event.kind.value == "interrupted":
                await asyncio.sleep(0.2)
                return

threading.Thread(target=asyncio.run, args=(main(),)).start()
ready.wait()
"""


async def test_nothing_fails_for_good_because_the_interpreter_exits(tmp_path: Path) -> None:
    file, secret = tmp_path / "file", tmp_path / "secret"
    file.write_bytes(b"x")
    secret.write_text("hunter2")
    store = tmp_path / "work.db"
    command = [
        sys.executable,
        "-c",
        PROCESS_THAT_ENDS_UNDER_ITS_LOOP,
        str(store),
        str(file),
        str(secret),
    ]
    ended = await asyncio.to_thread(
        subprocess.run, command, timeout=20, check=False, capture_output=True
    )
    assert ended.returncode == 0, ended.stderr.decode()
    async with WorkManager(store, workers="elsewhere", run=False) as manager:
        records = await manager.list_tasks()
        events = [event async for event in manager.events(after=0, follow=False)]
    assert [record.status for record in records] == [TaskStatus.PENDING] * 2
    interrupted = [event for event in events if event.kind is EventKind.INTERRUPTED]
    assert 1 <= len(interrupted) < 10
