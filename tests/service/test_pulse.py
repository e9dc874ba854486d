"""Waking many who wait: all of them, once, and a few in each turn of the loop."""

from __future__ import annotations

import asyncio
import itertools
import random

import pytest

from outhaul.service.pulse import WOKEN_MAX, Pulse


async def waiting(pulse: Pulse, number: int) -> list[asyncio.Task[None]]:
    tasks = [asyncio.create_task(pulse.wait()) for _ in range(number)]
    await asyncio.sleep(0)
    return tasks


async def test_all_who_wait_are_woken_a_few_in_each_turn() -> None:
    pulse = Pulse()
    tasks = await waiting(pulse, 3 * WOKEN_MAX + 1)
    pulse.wake()
    counts: list[int] = []
    while counts[-1:] != [len(tasks)]:
        counts.append(sum(task.done() for task in tasks))
        await asyncio.sleep(0)
    steps = {after - before for before, after in itertools.pairwise(counts)}
    assert max(steps) == WOKEN_MAX
    assert not pulse._waiting
    assert pulse._due == 0


async def test_who_comes_later_waits_for_the_next_time() -> None:
    pulse = Pulse()
    pulse.wake()
    first = await waiting(pulse, 2)
    pulse.wake()
    pulse.wake()
    second = await waiting(pulse, 2)
    await asyncio.gather(*first)
    for _ in range(10):
        await asyncio.sleep(0)
    assert not any(task.done() for task in second)
    pulse.wake()
    await asyncio.gather(*second)


async def test_who_does_not_wait_any_more_is_forgotten() -> None:
    pulse = Pulse()
    tasks = await waiting(pulse, 5)
    for task in tasks[1:4]:
        task.cancel()
    await asyncio.gather(*tasks[1:4], return_exceptions=True)
    assert len(pulse._waiting) == 2
    pulse.wake()
    tasks[0].cancel()  # in the very turn in which its time comes
    await asyncio.gather(*tasks, return_exceptions=True)
    assert not pulse._waiting


@pytest.mark.parametrize("seed", range(30))
async def test_no_news_are_missed_whoever_waits_wakes_or_leaves_when(seed: int) -> None:
    """The news is a number. Whoever looks at it and then waits sees the last one in the end."""
    chance = random.Random(seed)
    pulse = Pulse()
    news, last = 0, 60

    async def read(pace: random.Random) -> int:
        seen = 0
        while seen < last:
            if seen == news:
                await pulse.wait()
            else:
                seen = news
                for _ in range(pace.choice([0, 0, 1, 3])):
                    await asyncio.sleep(0)
        return seen

    many = chance.choice([1, 2, 2 * WOKEN_MAX + 3])
    readers = [asyncio.create_task(read(random.Random(number))) for number in range(many)]
    leaving = await waiting(pulse, 20)
    while news < last:
        news += 1
        pulse.wake()
        if chance.randrange(3) == 0 and leaving:
            leaving.pop(chance.randrange(len(leaving))).cancel()
        for _ in range(chance.choice([0, 0, 0, 1, 2, 5])):
            await asyncio.sleep(0)
    async with asyncio.timeout(5):
        assert await asyncio.gather(*readers) == [last] * many
