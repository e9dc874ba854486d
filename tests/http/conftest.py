"""A manager on the event loop of the test, a clock that it moves, and files to send."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable
from pathlib import Path

import pytest

from outhaul import WorkManager
from outhaul.testing import FakeClock, FlakyServer

Made = Callable[..., Path]


@pytest.fixture
def clock() -> FakeClock:
    return FakeClock()


@pytest.fixture
async def manager(tmp_path: Path, clock: FakeClock) -> AsyncIterator[WorkManager]:
    async with WorkManager(tmp_path / "work.db", clock=clock, durability="os") as manager:
        yield manager


@pytest.fixture
async def server() -> AsyncIterator[FlakyServer]:
    async with FlakyServer() as server:
        yield server


@pytest.fixture
def make(tmp_path: Path) -> Made:
    """Writes a file; a number of bytes stands for a hole of that size."""

    def make(content: bytes | int = b"hello", name: str = "photo.jpg") -> Path:
        path = tmp_path / name
        if isinstance(content, int):
            with path.open("wb") as file:
                file.truncate(content)
        else:
            path.write_bytes(content)
        return path

    return make
