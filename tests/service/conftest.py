"""The service on a real socket, and a server that uploads arrive at."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from tests.service.kit import Service

from outhaul.testing import FlakyServer


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """The one root; `a.txt` lies in it."""
    root = tmp_path / "root"
    root.mkdir()
    (root / "a.txt").write_bytes(b"hello")
    return root


@pytest.fixture
async def server() -> AsyncIterator[FlakyServer]:
    async with FlakyServer() as server:
        yield server


@pytest.fixture
async def service(tmp_path: Path, folder: Path) -> AsyncIterator[Service]:
    async with Service(tmp_path / "work.db", folder) as service:
        yield service
