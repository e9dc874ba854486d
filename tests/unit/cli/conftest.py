"""Every test here runs against the scripted manager."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace

import pytest
from tests.unit.cli.fakes import FakeManager, event

import outhaul


@pytest.fixture
def manager(monkeypatch: pytest.MonkeyPatch) -> type[FakeManager]:
    """A fresh script; `outhaul.WorkManager` is the fake."""
    FakeManager.endings = [event(1), event(2)]
    FakeManager.log, FakeManager.stats_after, FakeManager.refusal = [], [], None
    FakeManager.calls, FakeManager.tasks, FakeManager.pending = [], [], []
    FakeManager.troubles, FakeManager.newest, FakeManager.kept = [], [], set()
    monkeypatch.setattr(outhaul, "WorkManager", FakeManager, raising=False)
    return FakeManager


@pytest.fixture
def terminal(monkeypatch: pytest.MonkeyPatch) -> None:
    """`upload` takes its standard output for one."""
    import rich  # noqa: F401, PLC0415 — which asks the disk where it is, on the event loop else

    stdout = SimpleNamespace(isatty=lambda: True)
    monkeypatch.setattr("outhaul.cli.upload.sys", SimpleNamespace(stdout=stdout))


@pytest.fixture
def db(tmp_path: Path) -> str:
    path = tmp_path / "work.db"
    path.touch()
    return str(path)
