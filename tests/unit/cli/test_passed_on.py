"""What the command line passes on to the manager; what `run` waits for, and what it leaves with."""

from __future__ import annotations

import asyncio
import signal

import pytest
from msgspec.structs import replace
from tests.unit.cli.fakes import RECORD, URL, FakeManager, command

import outhaul
from outhaul import TaskRecord, TaskStatus, WaitingOn
from outhaul.cli import run_tasks


class Noting(FakeManager):
    """Also how it was opened."""

    def __init__(self, path: str, *, run: bool, allow_http: bool) -> None:
        self.calls.append(("opened", path, run, allow_http))


@pytest.mark.parametrize(
    "words", [("upload", "/a.jpg", "--to", URL), ("run", "--until-idle")], ids=["upload", "run"]
)
@pytest.mark.parametrize("option", [(), ("--allow-http",)], ids=["not said", "said"])
def test_http_is_allowed_where_it_is_said(
    manager: type[FakeManager],
    db: str,
    monkeypatch: pytest.MonkeyPatch,
    words: tuple[str, ...],
    option: tuple[str, ...],
) -> None:
    monkeypatch.setattr(outhaul, "WorkManager", Noting)
    manager.pending = [[]]
    assert command(db, *words, *option).exit_code == 0
    opened = [call for call in manager.calls if call[:3] == ("opened", db, True)]
    assert opened == [("opened", db, True, bool(option))]


def test_run_waits_for_what_waits_for_its_turn(
    manager: type[FakeManager], db: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(run_tasks, "POLL_S", 0.0)
    manager.pending = [[replace(RECORD, waiting_on=WaitingOn.LIMIT)], []]
    assert command(db, "run", "--until-idle").exit_code == 0
    assert manager.pending == []


class Interrupted(FakeManager):
    """The user presses Ctrl-C while it is asked what is left."""

    async def get_tasks_by_status(self, *statuses: TaskStatus) -> list[TaskRecord]:
        assert statuses
        signal.raise_signal(signal.SIGINT)
        await asyncio.Event().wait()
        return []


@pytest.mark.usefixtures("manager")
def test_ctrl_c_in_run_says_that_the_work_is_safe(db: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(outhaul, "WorkManager", Interrupted)
    ended = command(db, "run", "--until-idle")
    assert ended.exit_code == 130
    assert f"the work is safe in {db}" in ended.stderr
