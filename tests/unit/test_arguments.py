"""What every constructor checks: strings of any class, numbers of any length."""

from __future__ import annotations

import enum
from collections.abc import Callable
from pathlib import Path

import pytest

from outhaul import (
    Constraints,
    NativeWorker,
    PythonWorker,
    RetryPolicy,
    Secret,
    Task,
    TaskContext,
    TaskTrigger,
    WorkManager,
)
from outhaul.aiohttp import FilePart, TextPart
from outhaul.errors import InvalidArgumentError
from outhaul.wire import SecretRef


class Word(str):
    """As `numpy.str_` and `markupsafe.Markup` are; its text is another's."""

    __slots__ = ()

    def __str__(self) -> str:
        return "another"


class Name(str, enum.Enum):
    ALBUM = "album"


def upload(kind: Callable[[str], str], path: Path) -> NativeWorker:
    headers: dict[str, str | SecretRef] = {
        kind("X-One"): kind("one"),
        kind("X-Two"): Secret.env(kind("TWO"), prefix=kind("Bearer ")),
    }
    return NativeWorker.http_upload(
        url=kind("https://example.com/upload"),
        file_path=kind(str(path)),
        method=kind("PUT"),  # type: ignore[arg-type]  # what is tested
        body=kind("raw"),  # type: ignore[arg-type]  # likewise
        file_name=kind("a.jpg"),
        mime_type=kind("image/jpeg"),
        headers=headers,
        fields=[(kind("album"), kind("münchen"))],
    )


def test_a_string_of_a_subclass_is_its_text(tmp_path: Path) -> None:
    path = tmp_path / "photo.jpg"
    made = [
        Task(
            kind("x"),
            upload(kind, path),
            constraints=Constraints(network_type=kind("connected")),
            existing_policy=kind("replace"),
            tag=kind("münchen"),
        )
        for kind in (str, Word)
    ]
    assert made[0].encoded == made[1].encoded
    assert PythonWorker(Word("work")).encoded == PythonWorker("work").encoded
    assert TextPart(Word("a"), Word("b")) == TextPart("a", "b")
    assert FilePart(Word("a"), Word("/b"), file_name=Word("c")) == FilePart(
        "a", "/b", file_name="c"
    )


def test_a_member_of_an_enum_of_strings_is_its_value() -> None:
    assert Task(Name.ALBUM, PythonWorker("x")).wire.task_id == "album"
    assert Task("x", PythonWorker("x"), tag=Name.ALBUM).wire.tag == "album"


async def test_a_manager_takes_strings_of_a_subclass(tmp_path: Path) -> None:
    async def work(value: object, _: TaskContext) -> object:
        return value

    path = Word(str(tmp_path / "w.db"))
    async with WorkManager(path, workers={Word("work"): work}) as manager:
        task = await manager.enqueue(Word("x"), PythonWorker(Word("work")), tag=Word("t"))
        assert (await task.result()).success
        assert await manager.get_task_status(Word("x")) == "completed"
        assert [event async for event in manager.events(after=0, tag=Word("t"), follow=False)]


ENDLESS = 10**5000  # which Python does not write out


@pytest.mark.parametrize(
    ("argument", "make"),
    [
        ("max_retries", lambda: RetryPolicy(max_retries=ENDLESS)),
        ("multiplier", lambda: RetryPolicy(multiplier=ENDLESS)),
        ("initial_delay", lambda: TaskTrigger.one_time(-ENDLESS)),
        ("initial_delay", lambda: TaskTrigger.one_time(ENDLESS)),
    ],
)
def test_a_number_that_is_too_long_to_be_shown_is_refused_all_the_same(
    argument: str, make: Callable[[], object]
) -> None:
    with pytest.raises(InvalidArgumentError, match="thousands of digits") as caught:
        make()
    assert caught.value.argument == argument
