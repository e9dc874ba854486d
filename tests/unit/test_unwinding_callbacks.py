"""Callbacks with time-outs of their own: what they take back stops nobody, but a stop does."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Awaitable
from pathlib import Path

import pytest

from outhaul import PythonWorker, RetryPolicy, TaskContext, WorkManager


async def test_a_callback_whose_own_time_out_has_passed_goes_on(tmp_path: Path) -> None:
    async def work(_: object, __: TaskContext) -> str:
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(0):
                await asyncio.Event().wait()
        await asyncio.sleep(0.02)  # nobody cancels it
        return "done"

    async with WorkManager(tmp_path / "w.db", workers={"work": work}) as manager:
        task = await manager.enqueue("x", PythonWorker("work"), retry=RetryPolicy.NONE)
        event = await asyncio.wait_for(task.result(), 5)
    assert (event.success, event.attempt) == (True, 1)


@pytest.mark.parametrize("kind", ["a coroutine function", "a function that returns a coroutine"])
async def test_a_stop_while_a_scope_of_it_unwinds_stops_it(tmp_path: Path, kind: str) -> None:
    unwinding, ended = asyncio.Event(), asyncio.Event()

    async def coroutine(_: object, __: TaskContext) -> None:
        try:
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(0):
                    await tidies_up()
            await asyncio.Event().wait()
        finally:
            ended.set()

    async def tidies_up() -> None:
        try:
            await asyncio.Event().wait()
        finally:
            unwinding.set()
            await asyncio.Event().wait()

    def plain(value: object, ctx: TaskContext) -> Awaitable[None]:
        return coroutine(value, ctx)

    work = coroutine if kind == "a coroutine function" else plain
    async with WorkManager(tmp_path / "w.db", workers={"work": work}) as manager:
        task = await manager.enqueue("x", PythonWorker("work"))
        async with asyncio.timeout(5):
            await unwinding.wait()
            assert await task.cancel()
            await ended.wait()


async def test_a_stop_while_a_time_out_unwinds_cuts_no_clean_up_short(tmp_path: Path) -> None:
    unwinding, may_go_on, saved = asyncio.Event(), asyncio.Event(), asyncio.Event()

    async def work(_: object, __: TaskContext) -> None:
        try:
            async with asyncio.timeout(0):
                try:
                    await asyncio.Event().wait()
                finally:
                    unwinding.set()
                    await asyncio.Event().wait()
        finally:
            await may_go_on.wait()
            saved.set()

    async with WorkManager(tmp_path / "w.db", workers={"work": work}) as manager:
        task = await manager.enqueue("x", PythonWorker("work"))
        async with asyncio.timeout(5):
            await unwinding.wait()
            assert await task.cancel()
            for _ in range(20):
                await asyncio.sleep(0)
            may_go_on.set()
            await saved.wait()
