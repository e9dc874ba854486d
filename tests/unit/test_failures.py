"""A task that fails for good is in the log, whoever else hears of it (S-080, S-155)."""

from __future__ import annotations

import logging
from pathlib import Path

import pytest

from outhaul import NativeWorker, PermanentFailure, PythonWorker, TaskContext, WorkManager
from outhaul.testing import Answer, FlakyServer

TEXT = {"Content-Type": "text/plain"}


async def bad(_: object, __: TaskContext) -> None:
    raise PermanentFailure("it is bad")


async def good(_: object, __: TaskContext) -> None:
    """It is done."""


def told(caplog: pytest.LogCaptureFixture) -> list[logging.LogRecord]:
    return [record for record in caplog.records if record.name == "outhaul.tasks"]


async def test_a_failure_is_logged_with_its_facts(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    photo = tmp_path / "photo.jpg"
    photo.write_bytes(b"hello")
    async with (
        FlakyServer(script=[Answer(status=404, body=b"gone", headers=TEXT)]) as server,
        WorkManager(tmp_path / "w.db", workers={"bad": bad, "good": good}) as manager,
    ):
        upload = NativeWorker.http_upload(url=server.url, file_path=photo)
        sent = await manager.enqueue("sent", upload)
        await sent.result()
        called = await manager.enqueue(None, PythonWorker("bad"))
        await called.result()
        done = await manager.enqueue("done", PythonWorker("good"))
        await done.result()
        await manager.stats()  # what is told before this answer has arrived
    first, second = told(caplog)
    assert first.levelno == second.levelno == logging.ERROR
    assert first.getMessage() == "sent: failed at attempt 1: HTTP 404 Not Found: gone"
    assert first.__dict__["outhaul"] == {
        "task_id": "sent",
        "key": sent.key,
        "attempt": 1,
        "error_code": "HTTP_CLIENT_ERROR",
        "http_status": 404,
    }
    assert second.getMessage() == f"{called.task_id}: failed at attempt 1: it is bad"


async def test_what_is_cancelled_is_no_failure(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    async with WorkManager(tmp_path / "w.db", workers="elsewhere", run=False) as manager:
        await manager.enqueue("x", PythonWorker("x"))
        assert await manager.cancel("x")
        await manager.stats()
    assert told(caplog) == []


async def forges(_: object, __: TaskContext) -> None:
    raise PermanentFailure("bad\nERROR:root: all is lost")


async def test_a_log_that_raises_takes_no_other_line_along_and_no_text_makes_a_line(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    def has_no_room(record: logging.LogRecord) -> bool:
        if record.getMessage().startswith("first"):
            raise OSError("no room")
        return True

    caplog.handler.addFilter(has_no_room)
    try:
        async with WorkManager(tmp_path / "w.db", workers={"forges": forges}) as manager:
            for name in ("first", "second"):
                await manager.enqueue(name, PythonWorker("forges"))
            await manager.wait_idle()
            await manager.stats()
    finally:
        caplog.handler.removeFilter(has_no_room)
    (only,) = told(caplog)
    assert only.getMessage() == "second: failed at attempt 1: bad\ufffdERROR:root: all is lost"
