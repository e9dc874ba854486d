"""Signals that are started again while a look of theirs is under way, or has died with its loop."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable

import pytest

from outhaul.signals import BatterySignal, NetworkSignal

Signal = NetworkSignal | BatterySignal
Make = Callable[[Callable[[bool], None]], Signal]


@pytest.mark.parametrize("make", [NetworkSignal, BatterySignal])
def test_a_look_that_dies_with_its_loop_does_not_silence_the_signal(
    make: Make, monkeypatch: pytest.MonkeyPatch
) -> None:
    let_go = threading.Event()
    told: list[bool] = []
    signal = make(told.append)

    async def begin_only() -> None:
        loop = asyncio.get_running_loop()
        monkeypatch.setattr(type(signal), "read", lambda _: let_go.wait(20))
        signal.start(loop)
        await asyncio.sleep(0.01)
        signal.close()
        loop.call_soon(let_go.set)

    async def again() -> None:
        monkeypatch.setattr(type(signal), "read", lambda _: True)
        signal.start(asyncio.get_running_loop())
        async with asyncio.timeout(5):
            while not told:
                await asyncio.sleep(0.001)
        signal.close()

    loop = asyncio.new_event_loop()
    loop.run_until_complete(begin_only())
    loop.close()
    asyncio.run(again())
    assert told == [True]


@pytest.mark.parametrize("make", [NetworkSignal, BatterySignal])
async def test_a_look_of_an_earlier_start_tells_nothing_and_sets_no_timer(
    make: Make, monkeypatch: pytest.MonkeyPatch
) -> None:
    looks = [threading.Event(), threading.Event()]
    answers = iter([(looks[0], False), (looks[1], True)])
    begun = threading.Semaphore(0)
    told: asyncio.Queue[bool] = asyncio.Queue()
    signal = make(told.put_nowait)

    def read(_: Signal) -> bool:
        let_go, answer = next(answers)
        begun.release()
        let_go.wait(20)
        return answer

    monkeypatch.setattr(type(signal), "read", read)
    for _ in range(2):
        signal.close()
        signal.start(asyncio.get_running_loop())
        assert await asyncio.to_thread(begun.acquire, timeout=5)
    looks[0].set()
    await asyncio.sleep(0.02)
    assert told.empty()
    looks[1].set()
    assert await asyncio.wait_for(told.get(), 5) is True
    signal.close()
