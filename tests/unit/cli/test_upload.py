"""`outhaul upload`: what it asks for, what it says, how it exits."""

from __future__ import annotations

import json
import signal
from pathlib import Path

import pytest
from tests.unit.cli.fakes import FAILED, URL, FakeManager, command, event

import outhaul
from outhaul import EventKind, Secret, Stats
from outhaul.cli.signals import ENDING
from outhaul.cli.upload import parse_header
from outhaul.errors import (
    InvalidArgumentError,
    OuthaulError,
    PlainSecretError,
    ServiceError,
    SourceNotFoundError,
    StoreFullError,
    StoreUnavailableError,
)


def test_an_upload_that_arrives_exits_with_0(manager: type[FakeManager], db: str) -> None:
    ended = command(db, "upload", "/a.jpg", "/b.jpg", "--to", URL, "--tag", "photos")
    assert (ended.exit_code, ended.stderr) == (0, "")
    assert sorted(ended.stdout.splitlines()) == ["completed  /a.jpg", "completed  /b.jpg"]
    assert manager.calls[0] == ("open", db, True)
    first = manager.tasks[0].wire
    assert (first.tag, first.retry.max_retries) == ("photos", 3)
    assert first.task_id == outhaul.task_id_for("/a.jpg", URL)


def test_options_reach_the_task(manager: type[FakeManager], db: str) -> None:
    headers = ["--header", "Authorization: Bearer env:TOKEN", "--header", "X-Id: 7"]
    words = ["--to", URL, "--field", "photo", "--max-retries", "9", "--retry-delay", "7200"]
    assert command(db, "upload", "/a.jpg", *words, *headers).exit_code == 0
    task = manager.tasks[0].wire
    assert (task.retry.max_retries, task.retry.initial_delay_ms) == (9, 7_200_000)
    assert isinstance(task.worker, outhaul.wire.HttpUploadSpec)
    assert task.worker.field_name == "photo"
    assert task.worker.headers == [
        ("Authorization", Secret.env("TOKEN", prefix="Bearer ")),
        ("X-Id", "7"),
    ]


def test_files_of_an_earlier_run_are_told(manager: type[FakeManager], db: str) -> None:
    """Their options are of that run: what is said now does not count."""
    manager.kept, manager.endings = {2, 3}, [event(1), event(2), event(3)]
    ended = command(db, "upload", "/a.jpg", "/b.jpg", "/c.jpg", "--to", URL, "--tag", "new")
    assert (ended.exit_code, len(ended.stdout.splitlines())) == (0, 3)
    assert ended.stderr.startswith("outhaul: 2 files stored by an earlier run")


def test_a_credential_in_plain_text_is_told_how_the_command_names_one(
    manager: type[FakeManager], db: str
) -> None:
    way = 'Secret.env("NAME"), Secret.file("/path") or Secret.provider("name") instead'
    manager.refusal = PlainSecretError(f"would be stored: pass {way}")
    ended = command(db, "upload", "/a.jpg", "--to", URL)
    assert (ended.exit_code, "pass env:NAME or file:/path instead" in ended.stderr) == (2, True)


def test_one_failure_is_told_and_exits_with_1(manager: type[FakeManager], db: str) -> None:
    manager.endings = [event(1), event(2, EventKind.FAILED, **FAILED)]
    ended = command(db, "upload", "/a.jpg", "/b.jpg", "--to", URL)
    assert ended.exit_code == 1
    assert "failed     /b.jpg  HTTP_SERVER_ERROR: HTTP 503 after 4 attempts" in ended.stdout


def test_a_cancelled_upload_has_not_arrived(manager: type[FakeManager], db: str) -> None:
    manager.endings = [event(1, EventKind.CANCELLED)]
    assert command(db, "upload", "/a.jpg", "--to", URL).exit_code == 1


def test_a_retry_is_told(manager: type[FakeManager], db: str) -> None:
    manager.log = [
        event(1, EventKind.RETRY_SCHEDULED, retry_at_ms=0, **FAILED),
        event(7, EventKind.RETRY_SCHEDULED),
        event(1, EventKind.STARTED),
    ]
    ended = command(db, "upload", "/a.jpg", "--to", URL)
    assert "retry      /a.jpg  HTTP_SERVER_ERROR: HTTP 503" in ended.stdout
    assert ended.stdout.count("retry ") == 1


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
def test_who_ends_it_hears_that_the_work_is_safe(
    manager: type[FakeManager], db: str, number: signal.Signals
) -> None:
    manager.endings = [number, number]  # the second one is the same, sent twice
    before = [signal.getsignal(each) for each in ENDING]
    ended = command(db, "upload", "/a.jpg", "/b.jpg", "--to", URL)
    assert ended.exit_code == 128 + number
    assert ended.stderr.startswith("outhaul: interrupted: the work is safe in")
    assert "run --until-idle" in ended.stderr
    assert manager.calls[-1] == ("close",)
    assert [signal.getsignal(each) for each in ENDING] == before


def test_a_signal_that_the_caller_ignores_is_ignored(manager: type[FakeManager], db: str) -> None:
    """As `nohup` says it."""
    manager.log = [signal.SIGHUP]
    before = signal.signal(signal.SIGHUP, signal.SIG_IGN)
    try:
        ended = command(db, "upload", "/a.jpg", "--to", URL)
    finally:
        signal.signal(signal.SIGHUP, before)
    assert (ended.exit_code, ended.stderr) == (0, "")


@pytest.mark.parametrize(
    ("error", "is_safe"),
    [
        pytest.param(ServiceError("it is away"), True, id="the work is stored"),
        pytest.param(
            StoreFullError("the disk is full"), False, id="a store that fails promises no more"
        ),
    ],
)
def test_an_error_after_the_work_is_stored_says_so(
    manager: type[FakeManager], db: str, error: OuthaulError, *, is_safe: bool
) -> None:
    manager.endings = [error]
    ended = command(db, "upload", "/a.jpg", "--to", URL)
    assert ended.exit_code == 1
    first, *more = ended.stderr.splitlines()
    assert first == f"outhaul: {error}"
    assert [line.startswith("outhaul: the work is safe in ") for line in more] == [True] * is_safe


@pytest.mark.parametrize("option", [(), ("--json",)], ids=["a file", "a program"])
def test_who_is_shown_no_progress_has_none_sent(
    manager: type[FakeManager], db: str, option: tuple[str, ...]
) -> None:
    assert command(db, "upload", "/a.jpg", "--to", URL, *option).exit_code == 0
    assert ("progress",) not in manager.calls


@pytest.mark.usefixtures("terminal")
def test_what_cannot_be_shown_changes_no_result(manager: type[FakeManager], db: str) -> None:
    manager.troubles = [ServiceError("1000 streams are open")]
    ended = command(db, "upload", "/a.jpg", "--to", URL)
    assert (ended.exit_code, ended.stdout.split()) == (0, ["completed", "/a.jpg"])
    assert ended.stderr == "outhaul: 1000 streams are open\n"


def test_a_file_that_is_named_twice_goes_once_as_it_was_named_first(
    manager: type[FakeManager], db: str
) -> None:
    ended = command(db, "upload", "f1.bin", "./f1.bin", "--to", URL)
    assert (ended.exit_code, ended.stdout) == (0, "completed  f1.bin\n")
    assert len(manager.tasks) == 1


def test_what_happens_is_told_from_before_the_work_was_stored(
    manager: type[FakeManager], db: str
) -> None:
    manager.stats_after = [Stats(last_event=7)]
    assert command(db, "upload", "/a.jpg", "--to", URL).exit_code == 0
    assert [call for call in manager.calls if call[0] == "events"] == [("events", {"after": 7})]


def test_an_option_is_called_as_the_command_line_spells_it(
    manager: type[FakeManager], db: str
) -> None:
    manager.refusal = InvalidArgumentError("use https://, or pass allow_http=True", argument="url")
    ended = command(db, "upload", "/a.jpg", "--to", "http://example.com/")
    assert (ended.exit_code, ended.stderr) == (
        2,
        "outhaul: url: use https://, or pass --allow-http\n",
    )


def test_whether_http_may_be_used_is_not_the_clients_to_say(
    manager: type[FakeManager], db: str
) -> None:
    at = ("--server", "http://127.0.0.1:1")
    ended = command(db, *at, "upload", "/a.jpg", "--to", URL, "--allow-http")
    assert ended.exit_code == 2
    assert "where the server is started" in ended.stderr
    assert manager.calls == []


def test_a_detached_upload_only_stores(manager: type[FakeManager], db: str) -> None:
    ended = command(db, "upload", "/a.jpg", "--to", URL, "--detach")
    assert (ended.exit_code, ended.stdout) == (0, "accepted   /a.jpg  t1\n")
    assert manager.calls == [("open", db, False), ("close",)]


def test_json_is_one_object_a_line(manager: type[FakeManager], db: str) -> None:
    manager.log = [event(1, EventKind.ENQUEUED), event(1, EventKind.STARTED)]
    manager.endings = [event(1, EventKind.FAILED, **FAILED)]
    ended = command(db, "upload", "/a.jpg", "--to", URL, "--json")
    (line,) = [json.loads(line) for line in ended.stdout.splitlines()]
    assert (line["file"], line["success"], line["error_code"]) == (
        "/a.jpg",
        False,
        "HTTP_SERVER_ERROR",
    )


def test_the_words_of_a_server_do_not_steer_the_terminal(
    manager: type[FakeManager], db: str
) -> None:
    manager.refusal = OuthaulError("\x1b]0;gotcha\x07no")
    ended = command(db, "upload", "/a.jpg", "--to", URL)
    assert ended.stderr == "outhaul: \ufffd]0;gotcha\ufffdno\n"


@pytest.mark.parametrize(
    ("refusal", "status"),
    [
        pytest.param(SourceNotFoundError("no /a.jpg", argument="file_path"), 2, id="no such file"),
        pytest.param(PlainSecretError(argument="headers"), 2, id="a plain secret"),
        pytest.param(StoreUnavailableError(), 1, id="a store that cannot be opened"),
    ],
)
def test_a_refusal_is_one_sentence(
    manager: type[FakeManager], db: str, refusal: OuthaulError, status: int
) -> None:
    manager.refusal = refusal
    ended = command(db, "upload", "/a.jpg", "--to", URL)
    assert (ended.exit_code, ended.stdout) == (status, "")
    assert ended.stderr == f"outhaul: {refusal}\n"


@pytest.mark.parametrize(
    "words",
    [
        pytest.param(("upload", "--to", URL), id="no file"),
        pytest.param(("upload", "/a.jpg"), id="no address"),
        pytest.param(("upload", "/a.jpg", "--to", URL, "--header", "X"), id="half a header"),
        pytest.param(("upload", "/a.jpg", "--to", URL, "--max-retries", "-1"), id="fewer than 0"),
        pytest.param(("upload", "/a.jpg", "--to", URL, "--colour"), id="no such option"),
        pytest.param(("cancel",), id="cancel nothing"),
        pytest.param(("cancel", "t1", "--all"), id="cancel one and all"),
        pytest.param(("list", "--status", "happy"), id="no such status"),
        pytest.param(("fly",), id="no such verb"),
    ],
)
def test_a_command_that_means_nothing_exits_with_2(
    manager: type[FakeManager], db: str, words: tuple[str, ...]
) -> None:
    ended = command(db, *words)
    assert ended.exit_code == 2
    assert ended.stderr
    assert not manager.tasks


@pytest.mark.parametrize(
    "words",
    [("list",), ("show", "t1"), ("cancel", "--all"), ("events",), ("run", "--until-idle")],
    ids=lambda words: words[0],
)
def test_a_question_creates_no_store(
    manager: type[FakeManager], tmp_path: Path, words: tuple[str, ...]
) -> None:
    ended = command(str(tmp_path / "other.db"), *words)
    assert ended.exit_code == 2
    assert "OUTHAUL_DB" in ended.stderr
    assert manager.calls == []


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("X-Id: 7", "7"),
        ("X-Id:7", "7"),
        ("X-Time: 12:30", "12:30"),
        ("X-Note: see file: below", "see file: below"),
        ("A: env:TOKEN", Secret.env("TOKEN")),
        ("A: Bearer env:TOKEN", Secret.env("TOKEN", prefix="Bearer ")),
        ("A: file:/run/key", Secret.file("/run/key")),
        ("A: Token file:/run/my key", Secret.file("/run/my key", prefix="Token ")),
    ],
)
def test_a_header_may_name_a_secret(text: str, value: object) -> None:
    assert parse_header(text)[1] == value


def test_a_header_without_a_name_is_refused() -> None:
    with pytest.raises(InvalidArgumentError, match="NAME: VALUE"):
        parse_header(": x")
