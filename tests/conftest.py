"""What every test gets: both event loops, a loop nobody may block, hypothesis profiles."""

from __future__ import annotations

import asyncio
import os
from typing import TYPE_CHECKING

import hypothesis
import pytest
import uvloop
from blockbuster import blockbuster_ctx

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

hypothesis.settings.register_profile("dev", max_examples=50)
hypothesis.settings.register_profile("ci", max_examples=200, derandomize=True)
hypothesis.settings.register_profile("long", max_examples=5_000, deadline=None)
hypothesis.settings.load_profile(
    os.environ.get("HYPOTHESIS_PROFILE", "ci" if "CI" in os.environ else "dev")
)


def pytest_asyncio_loop_factories() -> dict[str, Callable[[], asyncio.AbstractEventLoop]]:
    """Every async test runs on both loops."""
    return {"asyncio": asyncio.new_event_loop, "uvloop": uvloop.new_event_loop}


@pytest.fixture(autouse=True)
def free_loop() -> Iterator[None]:
    """A blocking call of ours on the event loop fails the test (promise P8)."""
    with blockbuster_ctx("outhaul") as blocker:
        # It asks for the working directory, which the kernel has in memory.
        blocker.functions["os.path.abspath"].can_block_in("outhaul/arguments.py", "absolute_path")
        yield
