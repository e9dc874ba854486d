"""The bridge: what is taken back, and what is refused, at the moment something ends."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Iterator

import pytest
from tests.unit.test_bridge import Batch, BreakingCore, Reply, StoppingWork, bridged

from outhaul.bridge import Bridge
from outhaul.errors import InternalError, QueueFullError


class EndingCore(BreakingCore):
    """One that notes what is taken back, and may refuse a list at its first part."""

    def __init__(self) -> None:
        super().__init__()
        self.abandoned: list[int] = []
        self.drained: list[int] = []
        self.replies: list[Reply] = []

    def abandon(self, ticket: int) -> None:
        self.abandoned.append(ticket)

    def drain(self, ticket: int) -> None:
        self.drained.append(ticket)

    def refuses(self, ticket: int) -> None:
        self.replies = [(ticket, None, ("QUEUE_FULL", "", "the queue is full"))]
        self.breaks()  # the descriptor is readable

    def poll(self, limit: int) -> Batch:
        broken = super().poll(limit)
        return (self.replies, [], [], [], [], []) if self.replies else broken


@pytest.fixture
def core() -> EndingCore:
    return EndingCore()


@pytest.fixture
async def bridge(core: EndingCore) -> AsyncIterator[Bridge]:
    with bridged(core, StoppingWork()) as bridge:
        yield bridge


async def test_a_wait_that_is_cancelled_is_taken_back(core: EndingCore, bridge: Bridge) -> None:
    """Else the core would keep a question for nobody, for as long as it is open."""
    waiting = asyncio.ensure_future(bridge.wait(core.ask))
    await asyncio.sleep(0)
    waiting.cancel()
    await asyncio.gather(waiting, return_exceptions=True)
    assert core.abandoned == core.asked == [1]


async def test_an_enqueue_in_the_turn_in_which_the_core_broke_is_refused(
    core: EndingCore, bridge: Bridge
) -> None:
    before = bridge.enqueue(b"before")
    core.breaks()
    bridge._drain()  # in the same turn
    with pytest.raises(InternalError, match="a thread ended"):
        bridge.enqueue(b"after")
    with pytest.raises(InternalError, match="a thread ended"):
        await before


async def test_of_a_list_that_is_refused_the_rest_is_not_taken(
    core: EndingCore, bridge: Bridge
) -> None:
    """The caller makes it while the loop turns: ten million tasks, perhaps."""
    taken = 0

    def parts() -> Iterator[list[bytes]]:
        nonlocal taken
        for taken in range(1, 1001):
            if taken == 3:
                core.refuses(1)
            yield [b"part"]

    with pytest.raises(QueueFullError):
        await bridge.enqueue_all(parts())
    assert taken < 10
    assert core.abandoned == [1]


async def test_when_the_interpreter_exits_the_core_is_told_once(
    core: EndingCore, bridge: Bridge
) -> None:
    """Each attempt that finds no thread says so."""
    for _ in range(3):
        bridge.claim_no_more()
    assert core.drained == [1]


async def test_a_core_that_broke_is_told_nothing_when_the_interpreter_exits(
    core: EndingCore, bridge: Bridge
) -> None:
    core.breaks()
    bridge._drain()
    bridge.claim_no_more()
    assert core.drained == []
