"""What each answer means for the task: S-150 to S-162, F-03, F-04, and the messages of A.15."""

from __future__ import annotations

from datetime import timedelta
from email.utils import format_datetime
from itertools import pairwise

import pytest
from tests.http.conftest import Made
from tests.http.peers import verdict

from outhaul import ErrorCode, EventKind, NativeWorker, RetryPolicy, TaskStatus, WorkManager
from outhaul.testing import Answer, FakeClock, FlakyServer

RETRIED = [408, 421, 423, 425, 429, 500, 502, 503, 504, 507]
FINAL = [400, 401, 403, 404, 405, 409, 410, 411, 413, 415, 422, 501, 505]


@pytest.mark.parametrize("status", RETRIED)
async def test_a_status_that_may_change_is_retried(
    manager: WorkManager, make: Made, clock: FakeClock, status: int
) -> None:
    """S-151, S-161, S-162, F-03."""
    async with FlakyServer(script=[Answer(status=status)]) as server:
        task = await manager.enqueue(
            "x", NativeWorker.http_upload(url=server.url, file_path=make())
        )
        event = await verdict(task)
        assert event.kind is EventKind.RETRY_SCHEDULED
        assert (event.http_status, event.success) == (status, None)
        assert f"HTTP {status}" in event.message
        record = await manager.get_task("x")
        assert record is not None
        assert (record.status, record.waiting_on) == (TaskStatus.PENDING, "retry")
        clock.advance(timedelta(seconds=33))
        assert (await task.result()).success
        first, second = server.requests
    assert first.idempotency_key == second.idempotency_key != ""
    assert first.headers["Content-Type"] == second.headers["Content-Type"]


async def test_the_record_of_a_task_that_waits_says_why(manager: WorkManager, make: Made) -> None:
    async with FlakyServer(script=[Answer(status=503)]) as server:
        worker = NativeWorker.http_upload(url=server.url, file_path=make())
        event = await verdict(await manager.enqueue("x", worker))
        record = await manager.get_task("x")
    assert record is not None
    assert record.status is TaskStatus.PENDING
    assert (record.http_status, record.error_code) == (503, event.error_code)
    assert record.message == event.message


@pytest.mark.parametrize("status", FINAL)
async def test_a_status_that_stays_fails_at_once(
    manager: WorkManager, make: Made, clock: FakeClock, status: int
) -> None:
    """S-152, S-158, S-160, F-03: 400 is not retried."""
    # A 409 or a 413 that is to pass says so.
    script = [Answer(status=status, retry_after=None if status in {409, 413} else "1")]
    async with FlakyServer(script=script) as server:
        task = await manager.enqueue(
            "x", NativeWorker.http_upload(url=server.url, file_path=make())
        )
        event = await task.result()
        assert (event.kind, event.success) == (EventKind.FAILED, False)
        assert (event.http_status, event.attempt) == (status, 1)
        client = ErrorCode.HTTP_CLIENT_ERROR
        server_side = ErrorCode.HTTP_SERVER_ERROR
        assert event.error_code is (client if status < 500 else server_side)
        assert f"HTTP {status}" in event.message
        clock.advance(timedelta(days=1))
        await manager.wait_idle()
        assert len(server.requests) == 1


@pytest.mark.parametrize("status", [200, 201, 202, 204, 206])
async def test_every_2xx_is_a_success(manager: WorkManager, make: Made, status: int) -> None:
    async with FlakyServer(script=[Answer(status=status, body=b"")]) as server:
        task = await manager.enqueue(
            "x", NativeWorker.http_upload(url=server.url, file_path=make())
        )
        event = await task.result()
    assert (event.success, event.http_status) == (True, status)


@pytest.mark.parametrize("status", [413, 429, 503])
async def test_no_attempt_comes_earlier_than_retry_after(
    manager: WorkManager, make: Made, clock: FakeClock, status: int
) -> None:
    """F-03: longer than the policy's own wait, the server's word counts."""
    policy = RetryPolicy(initial_delay=1)
    async with FlakyServer(script=[Answer(status=status, retry_after="7")]) as server:
        worker = NativeWorker.http_upload(url=server.url, file_path=make())
        task = await manager.enqueue("x", worker, retry=policy)
        event = await verdict(task)
        assert event.retry_at_ms is not None
        assert 7_000 <= event.retry_at_ms - event.at_ms <= 7_700
        clock.advance(6.999)
        await manager.wait_idle()
        assert len(server.requests) == 1
        clock.advance(0.701)
        assert (await task.result()).success


async def test_retry_after_may_be_a_date(
    manager: WorkManager, make: Made, clock: FakeClock
) -> None:
    until = format_datetime(clock.now + timedelta(minutes=10), usegmt=True)
    said = {"Date": format_datetime(clock.now, usegmt=True)}
    script = [Answer(status=503, retry_after=until, headers=said)]
    async with FlakyServer(script=script) as server:
        worker = NativeWorker.http_upload(url=server.url, file_path=make())
        event = await verdict(await manager.enqueue("x", worker))
    assert event.retry_at_ms is not None
    assert 600_000 <= event.retry_at_ms - event.at_ms <= 660_000


@pytest.mark.parametrize("retry_after", ["soon", "-5", "1.5", ""])
async def test_a_retry_after_that_means_nothing_is_ignored(
    manager: WorkManager, make: Made, retry_after: str
) -> None:
    async with FlakyServer(script=[Answer(status=503, retry_after=retry_after)]) as server:
        worker = NativeWorker.http_upload(url=server.url, file_path=make())
        event = await verdict(await manager.enqueue("x", worker))
    assert event.retry_at_ms is not None
    assert 30_000 <= event.retry_at_ms - event.at_ms <= 33_000


async def test_a_shorter_retry_after_does_not_hurry_the_policy(
    manager: WorkManager, make: Made
) -> None:
    async with FlakyServer(script=[Answer(status=503, retry_after="0")]) as server:
        worker = NativeWorker.http_upload(url=server.url, file_path=make())
        event = await verdict(await manager.enqueue("x", worker))
    assert event.retry_at_ms is not None
    assert event.retry_at_ms - event.at_ms >= 30_000


async def test_the_waits_are_30_60_and_120_seconds_and_the_fourth_failure_is_the_last(
    manager: WorkManager, make: Made, clock: FakeClock
) -> None:
    """F-04, C-05, C-06, S-028 to S-032: one id, one key, the attempt counted in the row."""
    async with FlakyServer(script=[Answer(status=503)] * 9) as server:
        task = await manager.enqueue(
            "x", NativeWorker.http_upload(url=server.url, file_path=make())
        )
        for attempt, wait in enumerate((30, 60, 120), start=1):
            event = await verdict(task, attempt=attempt)
            assert event.kind is EventKind.RETRY_SCHEDULED
            assert event.retry_at_ms is not None
            assert wait * 1000 <= event.retry_at_ms - event.at_ms <= wait * 1100
            clock.advance(wait - 0.001)
            await manager.wait_idle()
            assert len(server.requests) == attempt
            clock.advance(wait * 0.1 + 0.001)
        event = await task.result()
        clock.advance(timedelta(days=30))
        await manager.wait_idle()
    assert (event.kind, event.attempt, event.http_status) == (EventKind.FAILED, 4, 503)
    assert event.error_code is ErrorCode.HTTP_SERVER_ERROR
    assert [request.attempt for request in server.requests] == [1, 2, 3, 4]
    assert len({request.idempotency_key for request in server.requests}) == 1
    assert await manager.get_task_status("x") is TaskStatus.FAILED
    kinds = [event.kind async for event in task.events()]
    assert kinds == [
        EventKind.ENQUEUED,
        *[EventKind.STARTED, EventKind.RETRY_SCHEDULED] * 3,
        EventKind.STARTED,
        EventKind.FAILED,
    ]


async def test_the_count_of_attempts_survives_a_restart(
    manager: WorkManager, make: Made, clock: FakeClock
) -> None:
    """S-030, C-08: neither the count nor the wait begins anew."""
    policy = RetryPolicy(max_retries=1)
    async with FlakyServer(script=[Answer(status=503)] * 9) as server:
        worker = NativeWorker.http_upload(url=server.url, file_path=make())
        due_ms = (await verdict(await manager.enqueue("x", worker, retry=policy))).retry_at_ms
        await manager.close()
        async with manager:
            record = await manager.get_task("x")
            assert record is not None
            assert (record.attempt, record.run_at_ms) == (1, due_ms)
            clock.advance(33)
            task = await manager.get_handle("x")
            assert task is not None
            event = await task.result()
    assert (event.success, event.attempt) == (False, 2)
    assert len(server.requests) == 2


@pytest.mark.parametrize(
    ("status", "phrase"),
    [
        pytest.param(401, "HTTP 401", id="S-302"),
        pytest.param(403, "HTTP 403", id="S-303"),
        pytest.param(404, "HTTP 404", id="S-304"),
        pytest.param(500, "HTTP 5", id="S-305"),
        pytest.param(599, "HTTP 599", id="S-305, a status without a name"),
    ],
)
async def test_the_message_has_the_stable_phrase(
    manager: WorkManager, make: Made, status: int, phrase: str
) -> None:
    async with FlakyServer(script=[Answer(status=status)]) as server:
        worker = NativeWorker.http_upload(url=server.url, file_path=make())
        task = await manager.enqueue("x", worker, retry=RetryPolicy.NONE)
        event = await task.result()
    assert phrase in event.message
    record = await manager.get_task("x")
    assert record is not None
    assert (record.message, record.http_status) == (event.message, status)


async def test_the_reason_a_server_gives_is_told(manager: WorkManager, make: Made) -> None:
    text = {"Content-Type": "text/plain"}
    script = [Answer(status=422, body=b"album is\r\nfull", headers=text)]
    async with FlakyServer(script=script) as server:
        worker = NativeWorker.http_upload(url=server.url, file_path=make())
        event = await (await manager.enqueue("x", worker)).result()
    assert "album is full" in event.message


async def test_attempts_of_one_task_never_overlap(manager: WorkManager, make: Made) -> None:
    async with FlakyServer(script=[Answer(status=503)] * 3) as server:
        worker = NativeWorker.http_upload(url=server.url, file_path=make())
        task = await manager.enqueue("x", worker, retry=RetryPolicy(initial_delay=0))
        assert (await task.result()).success
        events = [event async for event in task.events()]
    started = [event.seq for event in events if event.kind is EventKind.STARTED]
    ended = [event.seq for event in events if event.attempt and event.kind is not EventKind.STARTED]
    assert len(started) == len(ended) == 4
    assert all(a < b for a, b in zip(started, ended, strict=True))
    assert all(a < b for a, b in pairwise(sorted(started + ended)))
