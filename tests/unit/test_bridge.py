"""The bridge: how calls cross, and that nobody waits for ever when the core breaks."""

from __future__ import annotations

import asyncio
import contextlib
import os
import threading
from typing import TYPE_CHECKING, Any, cast

import pytest

from outhaul.bridge import ENQUEUE_BATCH, EVERYBODY, Bridge, CallbackRunner, SecretResolver
from outhaul.errors import InternalError, WrongLoopError

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Iterator

    from outhaul._native import Core

Reply = tuple[int, bytes | None, tuple[str, str, str] | None]
Batch = tuple[list[Reply], list[Any], list[Any], list[Any], list[bytes], list[str]]


class BreakingCore:
    """A core that answers nothing, until it tells everybody that it has broken."""

    def __init__(self) -> None:
        self.reading, self.writing = os.pipe()
        os.set_blocking(self.reading, False)
        os.set_blocking(self.writing, False)
        self.asked: list[int] = []
        self.crossed: list[tuple[int, int]] = []
        self.together: int | None = None
        self.crossed_before = 0

    def enqueue(self, first: int, specs: list[bytes]) -> None:
        self.crossed.append((first, len(specs)))

    def enqueue_part(self, ticket: int, specs: list[bytes]) -> None:
        assert ticket
        assert specs

    def enqueue_all(self, ticket: int) -> None:
        self.together = ticket
        self.crossed_before = sum(count for _, count in self.crossed)

    def abandon(self, ticket: int) -> None:
        assert ticket == self.together

    def fileno(self) -> int:
        return self.reading

    def ask(self, ticket: int) -> None:
        self.asked.append(ticket)

    def breaks(self) -> None:
        os.write(self.writing, b"x")

    def poll(self, limit: int) -> Batch:
        assert limit
        os.read(self.reading, 1)
        return [(EVERYBODY, None, ("INTERNAL", "", "a thread ended"))], [], [], [], [], []


class StoppingWork:
    def __init__(self) -> None:
        self.is_stopped = False

    def run(self, *request: Any) -> None:  # noqa: ANN401 — whatever a core asks
        """Nothing is run."""

    resolve = stop = run

    def stop_all(self) -> None:
        self.is_stopped = True


@pytest.fixture
def core() -> BreakingCore:
    return BreakingCore()


@pytest.fixture
async def bridge(core: BreakingCore) -> AsyncIterator[Bridge]:
    with bridged(core, StoppingWork()) as bridge:
        yield bridge


@contextlib.contextmanager
def bridged(core: BreakingCore, work: StoppingWork) -> Iterator[Bridge]:
    """The core's descriptors are closed in the end."""
    loop = asyncio.get_running_loop()
    runner, resolver = cast("CallbackRunner", work), cast("SecretResolver", work)
    try:
        yield Bridge(cast("Core", core), runner, resolver, loop)
    finally:
        loop.remove_reader(core.reading)
        os.close(core.reading)
        os.close(core.writing)


async def test_whoever_waits_for_a_core_that_breaks_is_told_and_so_is_whoever_asks_later(
    core: BreakingCore,
) -> None:
    work = StoppingWork()
    with bridged(core, work) as bridge:
        waiting = [bridge.call(core.ask), asyncio.ensure_future(bridge.wait(core.ask))]
        await asyncio.sleep(0)
        assert len(core.asked) == 2
        core.breaks()
        for question in waiting:
            with pytest.raises(InternalError, match="a thread ended"):
                await asyncio.wait_for(question, 5)
        with pytest.raises(InternalError, match="a thread ended"):
            bridge.call(core.ask)
        assert work.is_stopped
        await bridge.close(grace_ms=0)  # there is nothing left to close
        assert not asyncio.get_running_loop().remove_reader(core.reading)


@pytest.mark.parametrize(
    ("number", "crossings"),
    [
        pytest.param(1, [(1, 1)], id="one"),
        pytest.param(ENQUEUE_BATCH - 1, [(1, ENQUEUE_BATCH - 1)], id="few"),
        pytest.param(ENQUEUE_BATCH, [(1, ENQUEUE_BATCH)], id="just a part"),
        pytest.param(
            2 * ENQUEUE_BATCH + 3,
            [(1, ENQUEUE_BATCH), (1 + ENQUEUE_BATCH, ENQUEUE_BATCH), (1 + 2 * ENQUEUE_BATCH, 3)],
            id="more",
        ),
    ],
)
async def test_enqueues_of_a_turn_cross_together_or_where_they_are_many_in_parts(
    core: BreakingCore, bridge: Bridge, number: int, crossings: list[tuple[int, int]]
) -> None:
    for _ in range(number):
        bridge.enqueue(b"spec")
    await asyncio.sleep(0)
    assert core.crossed == crossings


async def test_a_call_does_not_overtake_the_enqueues_before_it(
    core: BreakingCore, bridge: Bridge
) -> None:
    for _ in range(ENQUEUE_BATCH + 1):
        bridge.enqueue(b"spec")
    bridge.call(core.ask)
    crossed = [(1, ENQUEUE_BATCH), (ENQUEUE_BATCH + 1, 1)]
    assert core.crossed == crossed
    assert core.asked == [ENQUEUE_BATCH + 2]
    await asyncio.sleep(0)
    assert core.crossed == crossed


async def test_the_tickets_of_a_crossing_follow_each_other_whatever_is_called_between(
    core: BreakingCore, bridge: Bridge
) -> None:

    def parts() -> Iterator[list[bytes]]:
        for _ in range(2):
            bridge.enqueue(b"between")
            yield [b"part"]
        bridge.enqueue(b"last")

    bridge.enqueue(b"before")
    together = asyncio.ensure_future(bridge.enqueue_all(parts()))
    bridge.enqueue(b"beside")
    while core.together is None:
        await asyncio.sleep(0)
    bridge.call(core.ask)
    bridge.enqueue(b"after")
    await asyncio.sleep(0)
    of_others = [ticket for first, count in core.crossed for ticket in range(first, first + count)]
    tickets = [*of_others, *core.asked, core.together]
    assert sorted(tickets) == [1, 2, 3, 4, 5, 6, 7, 8]
    assert core.crossed[-1] == (8, 1)
    assert core.crossed_before == len(["before", "beside", "between", "between", "last"])
    together.cancel()


async def test_an_enqueue_from_another_thread_is_refused_in_the_middle_of_a_turn(
    core: BreakingCore, bridge: Bridge
) -> None:
    refused: list[Exception] = []

    async def elsewhere() -> None:
        try:
            bridge.enqueue(b"elsewhere")
        except WrongLoopError as error:
            refused.append(error)

    bridge.enqueue(b"here")
    thread = threading.Thread(target=asyncio.run, args=(elsewhere(),))
    thread.start()
    thread.join()  # holds up the turn: what was enqueued here has not crossed
    assert core.crossed == []
    assert len(refused) == 1
    await asyncio.sleep(0)
    assert core.crossed == [(1, 1)]


class BusyCore(BreakingCore):
    """A core that asks for several things at once."""

    def poll(self, limit: int) -> Batch:
        super().poll(limit)
        runs = [(key, 1, "work", b"", "x") for key in (1, 2, 3)]
        return [], runs, [(4, 1, [])], [(5, 1, "cancelled")], [b"6", b"7"], ["the disk is full"]


class ClumsyWork(StoppingWork):
    """One that raises where it is not yet known how."""

    def __init__(self) -> None:
        super().__init__()
        self.keys: list[int] = []

    def run(self, *request: Any) -> None:  # noqa: ANN401 — as above
        self.keys.append(request[0])
        if request[0] == 2:
            raise AssertionError("our own mistake")

    resolve = stop = run


async def test_a_request_that_cannot_be_passed_on_takes_no_other_along(
    caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    core, work, told = BusyCore(), ClumsyWork(), list[bytes]()

    def tell(failed: bytes) -> None:
        told.append(failed)
        if failed == b"6":
            raise OSError("a log that has no room")

    monkeypatch.setattr("outhaul.bridge.log_failed", tell)
    with bridged(core, work) as bridge:
        core.breaks()
        bridge._drain()
    assert work.keys == [1, 2, 3, 4, 5]
    assert told == [b"6", b"7"]
    for said in ("our own mistake", "a log that has no room", "the disk is full"):
        assert said in caplog.text
