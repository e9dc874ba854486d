"""Bad input is one typed error that names the argument and the fix, and nothing is stored.

S-340 to S-349, S-170 to S-174, P10. The types alone: `test_tasks.py`, `test_workers.py`; what may
not be read: `test_unreadable.py`.
"""

from __future__ import annotations

import asyncio
import os
from collections.abc import AsyncIterator, Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from outhaul import (
    Constraints,
    NativeWorker,
    OuthaulError,
    PythonWorker,
    RetryPolicy,
    Secret,
    Stats,
    Task,
    TaskContext,
    TaskTrigger,
    WorkManager,
)
from outhaul.errors import (
    InvalidArgumentError,
    InvalidTypeError,
    PlainSecretError,
    SecurityViolationError,
    SourceNotFoundError,
    UnknownCallbackError,
)

HERE = "https://127.0.0.1:9/upload"


async def callback(_: Any, __: TaskContext) -> None:  # noqa: ANN401 — whatever was enqueued
    """Never runs."""


@pytest.fixture
def root(tmp_path: Path) -> Path:
    """Where files may lie, with some that are no good."""
    root = tmp_path / "root"
    root.mkdir()
    (root / "photo.jpg").write_bytes(b"hello")
    (root / "folder").mkdir()
    (root / "dangling").symlink_to("nowhere")
    os.mkfifo(root / "fifo")
    (tmp_path / "secret.txt").write_bytes(b"secret")
    (tmp_path / "root-of-another").mkdir()
    (tmp_path / "root-of-another" / "photo.jpg").write_bytes(b"other")
    (root / "link").symlink_to(tmp_path / "secret.txt")
    return root


@pytest.fixture
async def manager(root: Path, tmp_path: Path) -> AsyncIterator[WorkManager]:
    workers = {"known": callback}
    async with WorkManager(
        tmp_path / "work.db", workers=workers, allowed_roots=[root], run=False
    ) as manager:
        yield manager


def upload(root: Path, **options: Any) -> NativeWorker:  # noqa: ANN401 — the table's
    path = options.pop("file", "photo.jpg")
    arguments = {"url": HERE, "file_path": root / path} | options
    return NativeWorker.http_upload(**arguments)


Make = Callable[[Path], Task]


def case(
    make: Callable[[Path], Any],
    error: type[OuthaulError],
    argument: str,
    fix: str = "",
    *,
    id: str,  # noqa: A002 — as pytest.param has it
) -> Any:  # noqa: ANN401 — pytest's own type is private
    return pytest.param(make, error, argument, fix, id=id)


def sending(**options: Any) -> Make:  # noqa: ANN401 — the table's
    return lambda root: Task("x", upload(root, **options))


def enqueued(task_id: Any = "x", worker: Any = None, **options: Any) -> Make:  # noqa: ANN401 — the table's
    return lambda root: Task(task_id, upload(root) if worker is None else worker(), **options)


FILES = [
    case(
        sending(file="none.jpg"), SourceNotFoundError, "file_path", "File not found", id="missing"
    ),
    case(sending(file="dangling"), SourceNotFoundError, "file_path", "", id="a dangling link"),
    case(sending(file="folder"), SourceNotFoundError, "file_path", "regular file", id="a folder"),
    case(sending(file="fifo"), SourceNotFoundError, "file_path", "regular file", id="a pipe"),
    case(
        sending(file_path="/dev/null"),
        SecurityViolationError,
        "file_path",
        "Path outside",
        id="dev",
    ),
    case(
        sending(file="../secret.txt"),
        SecurityViolationError,
        "file_path",
        "Path outside",
        id="dots",
    ),
    case(sending(file="link"), SecurityViolationError, "file_path", "Path outside", id="a link"),
    case(
        sending(file="../root-of-another/photo.jpg"),
        SecurityViolationError,
        "file_path",
        "Path outside",
        id="F-12 a sibling whose name begins alike",
    ),
    case(sending(file_path="a\0b"), OuthaulError, "file_path", id="NUL inside"),
    case(sending(file_path=""), InvalidArgumentError, "file_path", "empty", id="an empty path"),
    case(sending(file_path=None), InvalidTypeError, "file_path", "a string or a Path", id="None"),
    case(sending(file_path=b"x"), InvalidTypeError, "file_path", "a string or a Path", id="bytes"),
    case(sending(file_path="\udcff"), InvalidArgumentError, "file_path", "UTF-8", id="no UTF-8"),
    case(sending(file_path="a" * 10_000), OuthaulError, "file_path", id="a path too long"),
]

URLS = [
    case(sending(url=""), InvalidArgumentError, "url", "pass the address", id="empty"),
    case(sending(url=None), InvalidTypeError, "url", "a string", id="None"),
    case(sending(url="photo.jpg"), InvalidArgumentError, "url", "https://", id="no scheme"),
    case(sending(url="ftp://h/"), InvalidArgumentError, "url", "https://", id="ftp"),
    case(sending(url="file:///etc/passwd"), InvalidArgumentError, "url", "https://", id="file"),
    case(sending(url="https://"), InvalidArgumentError, "url", "https://host", id="no host"),
    case(
        sending(url="http://files.example/"),
        InvalidArgumentError,
        "url",
        "allow_http=True",
        id="S-342 plain http to another host",
    ),
    case(
        sending(url="http://127.0.0.1.files.example/"),
        InvalidArgumentError,
        "url",
        "insecure URL scheme",
        id="a name that only looks like loopback",
    ),
    case(
        sending(url="https://bob:hunter22@files.example/"),
        PlainSecretError,
        "url",
        "Secret.env",
        id="a password in the address",
    ),
    case(sending(url="https://h/\r\nX: y"), InvalidArgumentError, "url", id="a line break"),
    case(sending(url="https://h:99999/"), InvalidArgumentError, "url", id="no such port"),
    case(
        sending(url="https://h/" + "a" * 8192), InvalidArgumentError, "url", "8192", id="too long"
    ),
]

HEADERS = [
    case(
        sending(headers={"X-A": "b\r\nEvil: 1"}), InvalidArgumentError, 'headers["X-A"]', id="CR LF"
    ),
    case(sending(headers={"X-A": "b\nc"}), InvalidArgumentError, 'headers["X-A"]', id="LF"),
    case(sending(headers={"X-A": "b\0c"}), InvalidArgumentError, 'headers["X-A"]', id="NUL"),
    case(sending(headers={"X A": "b"}), InvalidArgumentError, 'headers["X A"]', id="a bad name"),
    case(sending(headers={"": "b"}), InvalidArgumentError, 'headers[""]', id="no name"),
    case(
        sending(headers={"Content-Length": "5"}),
        InvalidArgumentError,
        'headers["Content-Length"]',
        "leave it out",
        id="ours to say",
    ),
    case(
        sending(headers={"Authorization": "Bearer hunter22"}),
        PlainSecretError,
        'headers["Authorization"]',
        "Secret.env",
        id="C-18 a credential in plain text",
    ),
    case(
        sending(headers={"X-Api-Key": "hunter22"}),
        PlainSecretError,
        'headers["X-Api-Key"]',
        "Secret.env",
        id="a key in plain text",
    ),
    case(
        sending(headers={"Authorization": Secret.env("A", prefix="B\n")}),
        InvalidArgumentError,
        'headers["Authorization"]',
        id="a prefix that breaks the line",
    ),
    case(sending(headers={"X": 1}), InvalidTypeError, 'headers["X"]', "a string", id="a number"),
    case(sending(headers="X: 1"), InvalidTypeError, "headers", "a mapping", id="text"),
    case(sending(headers=[("X",)]), InvalidTypeError, "headers", "pairs", id="no pair"),
    case(
        sending(headers=[("X", "1")] * 101), InvalidArgumentError, "headers", "100", id="too many"
    ),
    case(
        sending(headers={"X": "v" * 65536}),
        InvalidArgumentError,
        "headers",
        "65536",
        id="too large",
    ),
]

FORMS = [
    case(sending(field_name=""), InvalidArgumentError, "field_name", id="an empty name"),
    case(sending(field_name="a\0b"), InvalidArgumentError, "field_name", id="a NUL"),
    case(sending(file_name=""), InvalidArgumentError, "file_name", id="an empty file name"),
    case(sending(file_name="a\x1bb"), InvalidArgumentError, "file_name", id="an escape"),
    case(sending(mime_type="a\r\nb"), InvalidArgumentError, "mime_type", id="a type with a break"),
    case(sending(mime_type="nonsense"), InvalidArgumentError, "mime_type", id="no type"),
    case(
        sending(body="raw", fields={"a": "b"}),
        InvalidArgumentError,
        "fields",
        'body="multipart"',
        id="a raw body has no fields",
    ),
    case(sending(method="GET"), InvalidArgumentError, "method", "POST, PUT", id="GET"),
    case(sending(body="json"), InvalidArgumentError, "body", "multipart, raw", id="another body"),
    case(sending(connect_timeout=0), InvalidArgumentError, "connect_timeout", id="no time"),
    case(sending(stall_timeout="1"), InvalidTypeError, "stall_timeout", "seconds", id="text"),
    case(
        sending(filepath="x"), InvalidTypeError, "filepath", "did you mean file_path?", id="a typo"
    ),
    case(
        sending(fields={"a": "x" * 1_100_000}),
        InvalidArgumentError,
        "worker",
        "into a file",
        id="a task of more than 1 MiB",
    ),
]

TASKS = [
    case(enqueued(""), InvalidArgumentError, "task_id", "leave it out", id="an empty id"),
    case(enqueued("a\nb"), InvalidArgumentError, "task_id", "control character", id="a break"),
    case(enqueued("a\0b"), InvalidArgumentError, "task_id", "control character", id="a NUL"),
    case(enqueued("x" * 513), InvalidArgumentError, "task_id", "512", id="a long id"),
    case(enqueued(42), InvalidTypeError, "task_id", "a string", id="a number"),
    case(enqueued("\ud800"), InvalidArgumentError, "task_id", "UTF-8", id="half a surrogate"),
    case(enqueued(tag=""), InvalidArgumentError, "tag", "leave it out", id="an empty tag"),
    case(enqueued(tag=["a"]), InvalidTypeError, "tag", "a string", id="two tags"),
    case(enqueued(priority=2**31), InvalidArgumentError, "priority", "2147483647", id="too high"),
    case(enqueued(priority=True), InvalidTypeError, "priority", "an integer", id="a bool"),
    case(enqueued(retry=3), InvalidTypeError, "retry", "a RetryPolicy", id="a number of retries"),
    case(
        lambda _: RetryPolicy(max_delay=29),
        InvalidArgumentError,
        "max_delay",
        "at least initial_delay, 30 s",
        id="a longest wait below the first",
    ),
    case(enqueued(trigger=5), InvalidTypeError, "trigger", "a TaskTrigger", id="a delay"),
    case(enqueued(constraints="wifi"), InvalidTypeError, "constraints", "Constraints", id="text"),
    case(
        enqueued(existing_policy="kepp"),
        InvalidArgumentError,
        "existing_policy",
        "keep, replace",
        id="an unknown policy",
    ),
    case(enqueued(delay=5), InvalidTypeError, "delay", "trigger", id="an unknown keyword"),
    case(enqueued(worker=lambda: "x"), InvalidTypeError, "worker", "PythonWorker", id="no worker"),
    case(
        enqueued(worker=lambda: PythonWorker("unheard-of")),
        UnknownCallbackError,
        "callback_id",
        "@manager.worker",
        id="an unknown callback",
    ),
    case(
        enqueued(worker=lambda: PythonWorker("")),
        UnknownCallbackError,
        "callback_id",
        "@manager.worker",
        id="a callback without a name",
    ),
    case(
        enqueued(worker=lambda: PythonWorker("known", object())),
        InvalidTypeError,
        "input",
        "dicts",
        id="an input that cannot be stored",
    ),
    case(
        enqueued(worker=lambda: PythonWorker("known", b"x" * (1 << 20))),
        InvalidArgumentError,
        "input",
        "in a file",
        id="an input of 1 MiB",
    ),
    case(lambda _: TaskTrigger.one_time(-1), InvalidArgumentError, "initial_delay", id="yesterday"),
    case(
        lambda _: RetryPolicy(max_retries=-1), InvalidArgumentError, "max_retries", "0 to", id="-1"
    ),
    case(
        lambda _: Constraints(network_type="5g"),
        InvalidArgumentError,
        "network_type",
        "connected",
        id="an unknown network",
    ),
]


@pytest.mark.parametrize(
    ("make", "error", "argument", "fix"), [*FILES, *URLS, *HEADERS, *FORMS, *TASKS]
)
async def test_it_is_refused_by_name_and_nothing_is_stored(
    manager: WorkManager, root: Path, make: Make, error: type[OuthaulError], argument: str, fix: str
) -> None:
    with pytest.raises(error) as refused:
        await manager.enqueue_task(make(root))
    assert refused.value.argument == argument
    with pytest.raises(error) as among:
        await manager.enqueue_all([make(root)])
    assert among.value.argument.removeprefix("tasks[0].") == argument
    assert fix in refused.value.message
    assert refused.value.message.strip()
    assert isinstance(refused.value, (ValueError, TypeError, OSError))
    assert "hunter22" not in str(refused.value)
    assert await manager.stats() == Stats()
    assert [event async for event in manager.events(after=0, follow=False)] == []


async def test_one_bad_task_of_many_is_named_and_none_is_stored(
    manager: WorkManager, root: Path
) -> None:
    tasks = [Task(f"x{number}", upload(root)) for number in range(5)]
    tasks[3] = Task("x3", upload(root, file="none.jpg"))
    with pytest.raises(SourceNotFoundError) as refused:
        await manager.enqueue_all(tasks)
    assert refused.value.argument == "tasks[3].file_path"
    assert await manager.stats() == Stats()
    with pytest.raises(InvalidTypeError) as not_one:
        await manager.enqueue_all([tasks[0], "x1"])  # type: ignore[list-item]
    assert not_one.value.argument == "tasks[1]"
    with pytest.raises(InvalidTypeError) as none:
        await manager.enqueue_task("x1")  # type: ignore[arg-type]
    assert none.value.argument == "task"
    assert await manager.stats() == Stats()


async def test_of_tasks_that_end_with_an_error_none_is_stored(
    manager: WorkManager, root: Path
) -> None:
    def tasks() -> Iterator[Task]:
        """Fails when many have crossed to the core already."""
        for number in range(500):
            yield Task(f"x{number}", upload(root))
        raise LookupError("where they come from")

    with pytest.raises(LookupError, match="where they come from"):
        await manager.enqueue_all(tasks())
    assert await manager.stats() == Stats()
    assert len(await manager.enqueue_all([Task("x0", upload(root))])) == 1


async def test_a_refusal_leaves_the_manager_as_it_was(manager: WorkManager, root: Path) -> None:
    good, bad = upload(root), upload(root, file="none.jpg")
    answers = await asyncio.gather(
        *(manager.enqueue(f"x{n}", bad if n % 2 else good) for n in range(20)),
        return_exceptions=True,
    )
    assert [isinstance(answer, SourceNotFoundError) for answer in answers] == [False, True] * 10
    assert await manager.stats() == Stats(pending=10, last_event=10)
