"""The bridge when the core breaks: nobody waits for ever."""

from __future__ import annotations

import asyncio
import os
from typing import TYPE_CHECKING, Any, cast

import pytest

from outhaul.bridge import EVERYBODY, Bridge, Work
from outhaul.errors import InternalError

if TYPE_CHECKING:
    from collections.abc import Iterator

    from outhaul._native import Core

Reply = tuple[int, bytes | None, tuple[str, str, str] | None]


class BreakingCore:
    """A core that answers nothing, until it tells everybody that it has broken."""

    def __init__(self) -> None:
        self.reading, self.writing = os.pipe()
        os.set_blocking(self.reading, False)
        os.set_blocking(self.writing, False)
        self.asked: list[int] = []

    def fileno(self) -> int:
        return self.reading

    def ask(self, ticket: int) -> None:
        self.asked.append(ticket)

    def breaks(self) -> None:
        os.write(self.writing, b"x")

    def poll(self, limit: int) -> tuple[list[Reply], list[Any], list[Any], list[Any], list[str]]:
        assert limit
        os.read(self.reading, 1)
        return [(EVERYBODY, None, ("INTERNAL", "", "a thread ended"))], [], [], [], []


class StoppingWork:
    def __init__(self) -> None:
        self.is_stopped = False

    def stop_all(self) -> None:
        self.is_stopped = True


@pytest.fixture
def core() -> Iterator[BreakingCore]:
    core = BreakingCore()
    yield core
    os.close(core.reading)
    os.close(core.writing)


async def test_whoever_waits_for_a_core_that_breaks_is_told_and_so_is_whoever_asks_later(
    core: BreakingCore,
) -> None:
    loop = asyncio.get_running_loop()
    work = StoppingWork()
    bridge = Bridge(cast("Core", core), cast("Work", work), loop)
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
    assert not loop.remove_reader(core.reading)
