"""Python workers: what a callback answers is what becomes of its task (UC, C-31, S-190 and on)."""

from __future__ import annotations

import asyncio
import dataclasses
import functools
import threading
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest

from outhaul import (
    ErrorCode,
    EventKind,
    PermanentFailure,
    PythonWorker,
    RetryPolicy,
    Task,
    TaskContext,
    TaskEvent,
    TaskHandle,
    TaskStatus,
    WorkManager,
)
from outhaul.errors import InvalidArgumentError, UnknownCallbackError
from outhaul.testing import FakeClock


@pytest.fixture
def clock() -> FakeClock:
    return FakeClock()


@pytest.fixture
async def manager(tmp_path: Path, clock: FakeClock) -> AsyncIterator[WorkManager]:
    async with WorkManager(tmp_path / "work.db", clock=clock, durability="os") as manager:
        yield manager


async def first_end(task: TaskHandle) -> TaskEvent:
    async for event in task.events():
        if event.attempt and event.kind is not EventKind.STARTED:
            return event
    raise AssertionError("no attempt ended")


@pytest.mark.parametrize("kind", ["a coroutine function", "a plain function"])
@pytest.mark.parametrize(
    "answer",
    [
        pytest.param(True, id="True"),
        pytest.param(None, id="None"),
        pytest.param({"rows": 3, "of": ["a", b"b", 1.5, None]}, id="a dict"),
        pytest.param(0, id="0 is no False"),
        pytest.param("", id="nor is an empty string"),
        pytest.param([], id="nor an empty list"),
    ],
)
async def test_what_it_returns_is_the_result(
    manager: WorkManager, kind: str, answer: object
) -> None:
    async def asynchronous(_: object, __: TaskContext) -> object:
        return answer

    def plain(_: object, __: TaskContext) -> object:
        return answer

    manager.worker("work")(asynchronous if kind == "a coroutine function" else plain)
    task = await manager.enqueue("x", PythonWorker("work"))
    event = await task.result()
    assert (event.success, event.attempt) == (True, 1)
    assert event.result is not None
    assert event.result.value == answer
    assert type(event.result.value) is type(answer)


async def test_it_is_given_the_input_and_its_task(manager: WorkManager) -> None:
    seen: list[tuple[Any, TaskContext]] = []

    @manager.worker("work")
    async def work(value: Any, ctx: TaskContext) -> None:  # noqa: ANN401 — whatever was enqueued
        seen.append((value, ctx))

    value = {"path": "a", "sizes": [1, 2**63], "raw": b"\0", "none": None}
    task = await manager.enqueue("x", PythonWorker("work", value), tag="t")
    value["path"] = "changed later"
    await task.result()
    ((got, ctx),) = seen
    assert got == {"path": "a", "sizes": [1, 2**63], "raw": b"\0", "none": None}
    assert (ctx.task_id, ctx.key, ctx.attempt) == ("x", task.key, 1)
    assert ctx.idempotency_key


@pytest.mark.parametrize("at_once", [False, True], ids=["one by one", "with one call"])
async def test_inputs_that_cross_together_stay_apart_however_long_they_are(
    manager: WorkManager, *, at_once: bool
) -> None:
    """The core copies short ones into one piece of memory, and long ones into their own."""
    inputs = [bytes([at]) * length for at, length in enumerate([1, 20_000, 0, 16_000, 500_000, 7])]

    seen: dict[int, bytes] = {}

    @manager.worker("keep")
    async def keep(value: bytes, ctx: TaskContext) -> None:
        seen[ctx.key] = value

    workers = [PythonWorker("keep", value) for value in inputs]
    if at_once:
        handles = await manager.enqueue_all(Task(None, worker) for worker in workers)
    else:
        handles = await asyncio.gather(*(manager.enqueue(None, worker) for worker in workers))
    await asyncio.gather(*(task.result() for task in handles))
    assert [seen[task.key] for task in handles] == inputs


async def test_false_means_another_attempt_under_the_same_key(
    manager: WorkManager, clock: FakeClock
) -> None:
    """C-31: the upstream made it a failure without a retry."""
    seen: list[TaskContext] = []

    @manager.worker("work")
    async def work(_: object, ctx: TaskContext) -> bool:
        seen.append(ctx)
        return len(seen) > 1

    task = await manager.enqueue("x", PythonWorker("work"))
    event = await first_end(task)
    assert event.kind is EventKind.RETRY_SCHEDULED
    assert event.error_code is ErrorCode.WORKER_EXCEPTION
    assert "False" in event.message
    clock.advance(33)
    assert (await task.result()).success
    assert [ctx.attempt for ctx in seen] == [1, 2]
    assert len({ctx.idempotency_key for ctx in seen}) == 1


@pytest.mark.parametrize("kind", ["a coroutine function", "a plain function"])
async def test_an_exception_means_another_attempt_until_none_is_left(
    manager: WorkManager, kind: str, caplog: pytest.LogCaptureFixture
) -> None:
    def plain(_: object, __: TaskContext) -> None:
        raise LookupError("no such row")

    async def asynchronous(_: object, __: TaskContext) -> None:
        plain(None, __)

    manager.worker("work")(asynchronous if kind == "a coroutine function" else plain)
    policy = RetryPolicy(max_retries=2, initial_delay=0)
    task = await manager.enqueue("x", PythonWorker("work"), retry=policy)
    event = await task.result()
    assert (event.kind, event.attempt) == (EventKind.FAILED, 3)
    assert event.error_code is ErrorCode.WORKER_EXCEPTION
    assert event.message == "LookupError: no such row"
    assert len([record for record in caplog.records if record.exc_info]) == 3


@pytest.mark.parametrize("kind", ["a coroutine function", "a plain function"])
async def test_a_permanent_failure_is_the_end(manager: WorkManager, kind: str) -> None:
    def plain(_: object, __: TaskContext) -> None:
        raise PermanentFailure("the album was deleted")

    async def asynchronous(_: object, __: TaskContext) -> None:
        plain(None, __)

    manager.worker("work")(asynchronous if kind == "a coroutine function" else plain)
    event = await (await manager.enqueue("x", PythonWorker("work"))).result()
    assert (event.kind, event.attempt) == (EventKind.FAILED, 1)
    assert event.error_code is ErrorCode.WORKER_EXCEPTION
    assert "the album was deleted" in event.message


@pytest.mark.parametrize("answer", [object(), {1: object()}, 2**70, b"x" * 70_000])
async def test_a_result_that_cannot_be_kept_is_an_error_and_not_a_crash(
    manager: WorkManager, answer: object
) -> None:
    @manager.worker("work")
    async def work(_: object, __: TaskContext) -> object:
        return answer

    task = await manager.enqueue("x", PythonWorker("work"))
    event = await task.result()  # at once: another attempt would bring the same
    assert (event.success, event.attempt) == (False, 1)
    assert event.error_code is ErrorCode.WORKER_EXCEPTION
    assert event.message.startswith("the result ")


async def test_a_permanent_failure_in_a_group_is_the_end_too(manager: WorkManager) -> None:
    async def gives_up() -> None:
        raise PermanentFailure("the album was deleted")

    @manager.worker("work")
    async def work(_: object, __: TaskContext) -> None:
        async with asyncio.TaskGroup() as group:
            group.create_task(gives_up())

    event = await (await manager.enqueue("x", PythonWorker("work"))).result()
    assert (event.kind, event.message) == (EventKind.FAILED, "the album was deleted")


async def test_a_message_is_never_empty_nor_endless(manager: WorkManager) -> None:
    """S-154, S-309."""

    @manager.worker("work")
    async def work(text: str, _: TaskContext) -> None:
        raise PermanentFailure(text)

    for text in ("", "x" * 100_000):
        event = await (await manager.enqueue(None, PythonWorker("work", text))).result()
        assert 0 < len(event.message) <= 1000


class MuteError(Exception):
    def __str__(self) -> str:
        raise RuntimeError("no text")


class HeadlessError(Exception):
    def __str__(self) -> str:
        raise GeneratorExit


@pytest.mark.parametrize(
    ("error", "said"),
    [
        pytest.param(HeadlessError(), "HeadlessError: its text cannot be had", id="no Exception"),
        pytest.param(ValueError("b\udcff.jpg"), "ValueError: b?.jpg", id="no UTF-8"),
        pytest.param(PermanentFailure("b\udcff"), "b?", id="for good"),
        pytest.param(MuteError(), "MuteError: its text cannot be had", id="no text"),
    ],
)
async def test_an_exception_of_any_text_ends_the_attempt(
    manager: WorkManager, error: Exception, said: str
) -> None:
    @manager.worker("work")
    async def work(_: object, __: TaskContext) -> None:
        raise error

    task = await manager.enqueue("x", PythonWorker("work"), retry=RetryPolicy.NONE)
    event = await task.result()
    assert (event.kind, event.message) == (EventKind.FAILED, said)


async def test_a_plain_function_runs_in_a_thread_and_a_coroutine_on_the_loop(
    manager: WorkManager,
) -> None:
    @manager.worker("plain")
    def plain(_: object, __: TaskContext) -> bool:
        return threading.current_thread() is threading.main_thread()

    @manager.worker("async")
    async def asynchronous(_: object, __: TaskContext) -> int:
        return threading.get_ident()

    inside = await (await manager.enqueue("a", PythonWorker("async"))).result()
    assert inside.result is not None
    assert inside.result.value == threading.get_ident()
    task = await manager.enqueue("p", PythonWorker("plain"), retry=RetryPolicy.NONE)
    assert (await task.result()).success is False  # it said False: not the main thread


async def test_callables_of_every_kind_are_taken(manager: WorkManager) -> None:
    class Async:
        async def __call__(self, value: str, _: TaskContext) -> str:
            return value

        async def method(self, value: str, _: TaskContext) -> str:
            return value

    @dataclasses.dataclass  # which has no hash
    class Record:
        async def __call__(self, value: str, _: TaskContext) -> str:
            return value

    async def with_more(prefix: str, value: str, _: TaskContext) -> str:
        return prefix + value

    manager.worker("object")(Async())
    manager.worker("record")(Record())
    manager.worker("method")(Async().method)
    manager.worker("partial")(functools.partial(with_more, ""))
    for name in ("object", "record", "method", "partial"):
        event = await (await manager.enqueue(name, PythonWorker(name, "v"))).result()
        assert event.result is not None
        assert event.result.value == "v"


async def test_plain_functions_run_side_by_side(tmp_path: Path) -> None:
    both = threading.Barrier(2, timeout=10)

    def work(_: object, __: TaskContext) -> None:
        both.wait()

    async with WorkManager(tmp_path / "w.db", workers={"work": work}) as manager:
        tasks = [await manager.enqueue(name, PythonWorker("work")) for name in "ab"]
        for task in tasks:
            assert (await task.result()).success


async def test_an_unknown_callback_is_refused_until_it_is_registered(manager: WorkManager) -> None:
    with pytest.raises(UnknownCallbackError, match=r"@manager\.worker"):
        await manager.enqueue("x", PythonWorker("work"))

    @manager.worker("work")
    async def work(_: object, __: TaskContext) -> None:
        """Does nothing."""

    assert (await (await manager.enqueue("x", PythonWorker("work"))).result()).success


async def test_elsewhere_takes_any_name_and_parks_it_until_it_is_registered(
    tmp_path: Path,
) -> None:
    async with WorkManager(tmp_path / "w.db", workers="elsewhere") as manager:
        task = await manager.enqueue("x", PythonWorker("work", 5))
        other = await manager.enqueue("y", PythonWorker("other"))
        assert await task.status() is TaskStatus.PENDING

        @manager.worker("work")
        async def work(value: int, _: TaskContext) -> int:
            return value + 1

        event = await task.result()
        assert event.result is not None
        assert event.result.value == 6
        assert await other.status() is TaskStatus.PENDING
        record = await manager.get_task("y")
        assert record is not None
        assert record.attempt == 0


async def test_a_callback_that_shares_the_lane_of_another_holds_up_nobody(tmp_path: Path) -> None:
    """A lane is a hash of 31 bits, and these two names have the same."""
    async with WorkManager(tmp_path / "w.db", workers="elsewhere") as manager:

        @manager.worker("work40269")
        async def work(_: object, __: TaskContext) -> None:
            """Does nothing."""

        unknown = PythonWorker("work120004")
        other, task = await manager.enqueue_all(
            [
                Task(None, unknown, retry=RetryPolicy.NONE),
                Task(None, PythonWorker("work40269")),
            ]
        )
        assert (await task.result()).success
        assert "work120004" in (await other.result()).message


async def test_a_manager_that_is_opened_again_runs_what_it_ran(tmp_path: Path) -> None:
    def plain(_: object, __: TaskContext) -> str:
        return "ended"

    manager = WorkManager(tmp_path / "w.db", workers={"work": plain})
    for _ in range(2):
        async with manager:
            task = await manager.enqueue(None, PythonWorker("work"))
            assert (await task.result()).success


async def test_a_stored_task_whose_callback_is_gone_waits_for_it(
    tmp_path: Path, clock: FakeClock
) -> None:
    """DESIGN 9: parked at run time, never failed."""

    async def work(_: object, __: TaskContext) -> bool:
        return ready.is_set()

    ready = asyncio.Event()
    path = tmp_path / "w.db"
    async with WorkManager(path, workers={"work": work}, clock=clock) as manager:
        task = await manager.enqueue("x", PythonWorker("work"))
        await first_end(task)
    clock.advance(33)
    async with WorkManager(path, clock=clock) as manager:
        assert await manager.get_task_status("x") is TaskStatus.PENDING
        ready.set()
        manager.worker("work")(work)
        again = await manager.get_handle("x")
        assert again is not None
        assert (await again.result()).success


async def yields(_: object, __: TaskContext) -> AsyncIterator[int]:
    yield 1


@pytest.mark.parametrize("wrong", [5, "work", lambda: 1, lambda _: 1, lambda _, __, ___: 1, yields])
def test_what_cannot_be_called_with_an_input_and_a_context_is_refused(
    tmp_path: Path,
    wrong: Any,  # noqa: ANN401 — the table's
) -> None:
    manager = WorkManager(tmp_path / "w.db")
    with pytest.raises(InvalidArgumentError, match=r"callable|two arguments|yields"):
        manager.worker("work")(wrong)
