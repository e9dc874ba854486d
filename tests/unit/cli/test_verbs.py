"""The verbs that ask and tell: run, list, show, cancel, events."""

from __future__ import annotations

import json

import msgspec
import pytest
from tests.unit.cli.fakes import FAILED, RECORD, FakeManager, command, event
from typer.testing import CliRunner

from outhaul import EventKind, Stats, TaskRecord, TaskStatus, WaitingOn
from outhaul.cli import run_tasks
from outhaul.cli.app import app
from outhaul.errors import StoreFullError
from outhaul.human import printable

WAITS_FOR_NETWORK = msgspec.structs.replace(RECORD, waiting_on=WaitingOn.NETWORK)
NEEDS_THE_APPLICATION = msgspec.structs.replace(RECORD, waiting_on=WaitingOn.LIMIT, worker="python")
DUE_LATER = msgspec.structs.replace(RECORD, run_at_ms=4_000_000_000_000)
DONE = msgspec.structs.replace(RECORD, status=TaskStatus.COMPLETED)
RUNS = msgspec.structs.replace(RECORD, status=TaskStatus.RUNNING, waiting_on=None)


@pytest.fixture(autouse=True)
def hurry(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(run_tasks, "POLL_S", 0.0)


def test_run_until_idle_tells_what_happened_and_what_is_left(
    manager: type[FakeManager], db: str
) -> None:
    manager.log = [event(1)]
    manager.pending = [[WAITS_FOR_NETWORK]]
    manager.stats_after = [Stats(pending=2), Stats(pending=1), Stats(pending=1, completed=1)]
    ended = command(db, "run", "--until-idle")
    assert ended.exit_code == 0
    assert "completed       t1" in ended.stdout
    assert "not ended: 1;" in ended.stderr


@pytest.mark.parametrize(
    ("record", "is_awaited"),
    [
        pytest.param(RECORD, True, id="a retry is waited for"),
        pytest.param(RUNS, True, id="so is what runs"),
        pytest.param(WAITS_FOR_NETWORK, False, id="a network is not"),
        pytest.param(NEEDS_THE_APPLICATION, False, id="nor is code that is elsewhere"),
    ],
)
def test_run_until_idle_waits_for_what_passes_by_itself(
    manager: type[FakeManager], db: str, record: TaskRecord, *, is_awaited: bool
) -> None:
    manager.pending = [[record], [record], []]
    manager.newest = [RECORD, DONE, DONE]
    assert command(db, "run", "--until-idle").exit_code == 0
    asked = manager.calls.count(("by_status", TaskStatus.PENDING))
    assert asked == (3 if is_awaited else 1)


def test_run_until_idle_says_once_until_when_it_waits(manager: type[FakeManager], db: str) -> None:
    manager.pending = [[DUE_LATER], [DUE_LATER], []]
    manager.newest = [DONE, DONE]
    said = command(db, "run", "--until-idle").stderr
    assert said.count("waiting for 1 task, the next due at 2096-10-02") == 1


def test_run_until_idle_asks_of_one_task_while_that_is_awaited(
    manager: type[FakeManager], db: str
) -> None:
    """The one that is due next: there may be very many."""
    sooner = msgspec.structs.replace(DUE_LATER, run_at_ms=3_000_000_000_000)
    manager.pending = [[DUE_LATER, sooner], []]
    manager.newest = [*[sooner] * 50, RUNS]
    ended = command(db, "run", "--until-idle")
    assert ended.exit_code == 0
    assert ended.stderr.count("waiting for 2 tasks") == 1
    assert (manager.pending, manager.newest) == ([], [])


def test_run_until_idle_ends_when_its_log_cannot_be_read(
    manager: type[FakeManager], db: str
) -> None:
    manager.pending = [[DUE_LATER]]
    manager.newest = [DUE_LATER] * 10_000
    manager.log = [StoreFullError("the disk is full")]
    ended = command(db, "run", "--until-idle")
    assert ended.exit_code == 1
    assert ended.stderr.endswith("outhaul: the disk is full\n")


def test_run_looks_before_anything_can_happen(manager: type[FakeManager], db: str) -> None:
    manager.pending = [[]]
    manager.stats_after = [Stats(last_event=7), Stats(), Stats()]
    assert command(db, "run", "--until-idle").exit_code == 0
    assert [call for call in manager.calls if call[0] in {"open", "close"}] == [
        ("open", db, False),
        ("close",),
        ("open", db, True),
        ("close",),
    ]
    assert ("events", {"after": 7, "follow": False}) in manager.calls


@pytest.mark.parametrize(
    ("kind", "status"),
    [
        (EventKind.FAILED, 1),
        (EventKind.CANCELLED, 1),
        (EventKind.COMPLETED, 0),
        (EventKind.REPLACED, 0),
    ],
)
def test_run_exits_with_1_when_something_failed_or_was_cancelled(
    manager: type[FakeManager], db: str, kind: EventKind, status: int
) -> None:
    manager.pending = [[]]
    manager.log = [event(1, EventKind.STARTED), event(2, kind)]
    assert command(db, "run", "--until-idle").exit_code == status


def test_list_shows_what_has_not_ended(manager: type[FakeManager], db: str) -> None:
    ended = command(db, "list")
    told = ended.stdout.rstrip("\n").split("\t")
    assert (told[:2], told[-1]) == (["t1", "pending (retry)"], "/photos/a.jpg")
    asked = {call[1] for call in manager.calls if call[0] == "by_status"}
    assert asked == {status for status in TaskStatus if not status.is_terminal}


def test_list_can_be_narrowed(manager: type[FakeManager], db: str) -> None:
    ended = command(db, "list", "--tag", "photos", "--status", "failed", "--json")
    assert json.loads(ended.stdout)["task_id"] == "t1"
    assert ("by_tag", "photos", [TaskStatus.FAILED]) in manager.calls


@pytest.mark.usefixtures("manager")
def test_an_empty_list_says_what_has_ended(db: str) -> None:
    ended = command(db, "list", "--tag", "none")
    assert (ended.exit_code, ended.stdout) == (0, "")
    assert "12 completed, 1 failed" in ended.stderr


def test_show_tells_all_of_one_task(manager: type[FakeManager], db: str) -> None:
    manager.log = [event(1, EventKind.ENQUEUED), event(2)]
    ended = command(db, "show", "t1")
    assert "status      pending (retry)" in ended.stdout
    assert "file        /photos/a.jpg" in ended.stdout
    assert "enqueued" in ended.stdout.splitlines()[-1]
    assert ("events", {"after": 0, "task_id": "t1", "follow": False}) in manager.calls
    shown = json.loads(command(db, "show", "t1", "--json").stdout)
    assert (shown["key"], len(shown["events"])) == (1, 1)


def test_what_has_ended_has_no_due_time(manager: type[FakeManager], db: str) -> None:
    done = {"status": TaskStatus.COMPLETED, "run_at_ms": None, "finished_at_ms": 4_000_000_000_000}
    manager.pending = [[msgspec.structs.replace(RECORD, **done)]]
    assert "\t2096-10-02" in command(db, "list", "--status", "completed").stdout


def test_show_of_nothing_exits_with_1(manager: type[FakeManager], db: str) -> None:
    ended = command(db, "show", "t9")
    assert (ended.exit_code, ended.stdout) == (1, "")
    assert "no task 't9'" in ended.stderr
    assert manager.calls[-1] == ("close",)


@pytest.mark.usefixtures("manager")
@pytest.mark.parametrize(
    ("words", "status", "said"),
    [
        pytest.param(("t1",), 0, "cancelled t1", id="one"),
        pytest.param(("t9",), 1, "", id="one that is not there"),
        pytest.param(("--tag", "photos"), 0, "cancelled 6 tasks", id="a tag"),
        pytest.param(("--all",), 0, "cancelled 99 tasks", id="all"),
    ],
)
def test_cancel_says_what_it_did(db: str, words: tuple[str, ...], status: int, said: str) -> None:
    ended = command(db, "cancel", *words)
    assert (ended.exit_code, ended.stdout.strip()) == (status, said)


def test_events_are_the_whole_log(manager: type[FakeManager], db: str) -> None:
    manager.log = [event(1, EventKind.ENQUEUED), event(2, EventKind.FAILED, attempt=4, **FAILED)]
    lines = command(db, "events").stdout.splitlines()
    assert "enqueued        t1" in lines[0]
    assert lines[1].endswith("t2 attempt 4  HTTP_SERVER_ERROR: HTTP 503 after 4 attempts")
    seqs = [json.loads(line)["seq"] for line in command(db, "events", "--json").stdout.splitlines()]
    assert seqs == [1, 2]
    assert manager.calls[1] == ("events", {"after": 0, "tag": None, "follow": False})


def test_the_db_may_come_from_the_environment(manager: type[FakeManager], db: str) -> None:
    ended = CliRunner().invoke(app, ["list"], env={"OUTHAUL_DB": db})
    assert ended.exit_code == 0
    assert manager.calls[0] == ("open", db, False)


def test_names_and_servers_cannot_steer_the_terminal() -> None:
    assert printable("a\x1b[2Jb\nc") == "a\N{REPLACEMENT CHARACTER}[2Jb\N{REPLACEMENT CHARACTER}c"
    assert printable("été [bold]") == "été [bold]"
