"""What the core is told of a callback, whatever it raises, and what a callback is told."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import Any

import pytest
from tests.unit.odd_errors import ODD

from outhaul import (
    EventKind,
    PermanentFailure,
    PythonWorker,
    RetryPolicy,
    TaskContext,
    TaskEvent,
    WorkManager,
)
from outhaul.errors import InternalError

Callback = Callable[[Any, TaskContext], Any]


@pytest.fixture
async def manager(tmp_path: Path) -> AsyncIterator[WorkManager]:
    async with WorkManager(tmp_path / "work.db", durability="os") as manager:
        yield manager


async def outcome(manager: WorkManager, work: Callback) -> TaskEvent:
    """What becomes of a task that this is the callback of, and that has one attempt."""
    manager.worker("work")(work)
    task = await manager.enqueue("x", PythonWorker("work"), retry=RetryPolicy.NONE)
    return await asyncio.wait_for(task.result(), 5)


async def test_a_task_of_the_same_id_has_another_idempotency_key(manager: WorkManager) -> None:
    keys: list[str] = []

    async def work(_: object, ctx: TaskContext) -> None:
        keys.append(ctx.idempotency_key)

    for _ in range(2):
        assert (await outcome(manager, work)).success
    assert len(set(keys)) == 2


@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")
@pytest.mark.parametrize("kind", ["a coroutine function", "a plain function"])
@pytest.mark.parametrize("odd", ODD)
async def test_an_exception_that_cannot_be_described_ends_its_task_all_the_same(
    manager: WorkManager, kind: str, odd: str
) -> None:
    make, said = ODD[odd]
    asyncio.get_running_loop().set_exception_handler(lambda _, __: None)

    async def waits(_: object, __: TaskContext) -> None:
        raise make()

    def plain(_: object, __: TaskContext) -> None:
        raise make()

    event = await outcome(manager, waits if kind == "a coroutine function" else plain)
    assert event.kind is EventKind.FAILED
    assert said in event.message


class EndOfAll(BaseException):
    """No `Exception`."""


async def test_a_callback_that_raises_no_exception_is_reported_all_the_same(
    manager: WorkManager,
) -> None:
    async def work(_: object, __: TaskContext) -> None:
        raise EndOfAll

    # What nobody handles is told to the loop, too.
    asyncio.get_running_loop().set_exception_handler(lambda *_: None)
    event = await outcome(manager, work)
    assert event.kind is EventKind.FAILED
    assert "EndOfAll" in event.message


@pytest.mark.parametrize(
    ("error", "is_logged"),
    [
        pytest.param(ValueError("a mistake, it seems"), True, id="a mistake"),
        pytest.param(PermanentFailure("no such album"), False, id="what the callback says"),
    ],
)
async def test_a_mistake_is_logged_with_its_traceback_and_a_failure_for_good_is_none(
    manager: WorkManager, caplog: pytest.LogCaptureFixture, error: Exception, *, is_logged: bool
) -> None:
    async def work(_: object, __: TaskContext) -> None:
        raise error

    assert (await outcome(manager, work)).kind is EventKind.FAILED
    raised = [record.exc_info[1] for record in caplog.records if record.exc_info is not None]
    assert raised == ([error] if is_logged else [])


async def test_a_callback_that_says_that_its_loop_is_gone_has_failed(
    manager: WorkManager,
) -> None:
    """A `GeneratorExit` from without is no attempt; this one is its own."""
    calls = 0

    async def work(_: object, __: TaskContext) -> None:
        nonlocal calls
        calls += 1
        raise GeneratorExit

    asyncio.get_running_loop().set_exception_handler(lambda *_: None)
    event = await outcome(manager, work)
    assert (event.kind, calls) == (EventKind.FAILED, 1)


def test_a_callback_in_which_the_process_is_interrupted_ends_it_and_it_was_no_attempt(
    tmp_path: Path,
) -> None:
    is_first = True

    async def work(_: object, __: TaskContext) -> None:
        nonlocal is_first
        if is_first:
            is_first = False
            raise KeyboardInterrupt

    async def run() -> None:
        asyncio.get_running_loop().set_exception_handler(lambda *_: None)
        async with WorkManager(tmp_path / "w.db") as manager:
            await outcome(manager, work)

    async def happened() -> set[EventKind]:
        async with WorkManager(tmp_path / "w.db", run=False) as manager:
            return {event.kind async for event in manager.events(after=0, follow=False)}

    with pytest.raises(KeyboardInterrupt):
        asyncio.run(run())
    kinds = asyncio.run(happened())
    assert EventKind.STARTED in kinds
    assert not {EventKind.FAILED, EventKind.RETRY_SCHEDULED} & kinds


async def test_a_failure_for_good_is_found_however_deep_in_groups(manager: WorkManager) -> None:
    async def work(_: object, __: TaskContext) -> None:
        deep = ExceptionGroup("inner", [ValueError("other"), PermanentFailure("gone for good")])
        raise ExceptionGroup("outer", [ExceptionGroup("between", [deep])])

    event = await outcome(manager, work)
    assert (event.kind, event.message) == (EventKind.FAILED, "gone for good")


@pytest.mark.parametrize(
    ("more", "kind"),
    [
        pytest.param(0, EventKind.COMPLETED, id="the largest"),
        pytest.param(1, EventKind.FAILED, id="one byte more"),
    ],
)
async def test_a_result_is_kept_up_to_its_bound(
    manager: WorkManager, more: int, kind: EventKind
) -> None:
    head_bytes = 3  # SOURCE: MessagePack, bin 16
    result = bytes(64 * 1024 - head_bytes + more)

    async def work(_: object, __: TaskContext) -> bytes:
        return result

    event = await outcome(manager, work)
    assert event.kind is kind
    if event.result is not None:
        assert event.result.value == result


async def test_when_the_core_breaks_callbacks_that_run_are_cancelled(manager: WorkManager) -> None:
    """Another process may run their tasks now."""
    begun, ended = asyncio.Event(), asyncio.Event()

    @manager.worker("work")
    async def work(_: object, __: TaskContext) -> None:
        begun.set()
        try:
            await asyncio.Event().wait()
        finally:
            ended.set()

    await manager.enqueue("x", PythonWorker("work"))
    async with asyncio.timeout(5):
        await begun.wait()
        manager._here()._break(InternalError("a thread ended"))
        await ended.wait()
