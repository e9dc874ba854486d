"""What a manager is made with and asked for: a value that means nothing is refused by its name."""

from __future__ import annotations

import enum
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from outhaul import (
    AddressPolicy,
    NativeWorker,
    OuthaulError,
    PythonWorker,
    Task,
    TaskTrigger,
    WorkManager,
)
from outhaul.errors import InvalidTypeError


def manager(**options: Any) -> WorkManager:  # noqa: ANN401 — the table's
    return WorkManager("w.db", **options)


@pytest.mark.parametrize(
    ("make", "argument", "fix"),
    [
        pytest.param(
            lambda: TaskTrigger(initial_delay=5), "TaskTrigger", "one_time", id="a bare trigger"
        ),
        pytest.param(NativeWorker, "NativeWorker", "http_upload", id="a worker that does nothing"),
        pytest.param(
            lambda: manager(allowed_roots=Path("/srv")),
            "allowed_roots",
            "a list of directories",
            id="one directory and no list",
        ),
        pytest.param(
            lambda: AddressPolicy.strict(allow=5),  # type: ignore[arg-type]
            "allow",
            "a list of networks",
            id="a number for networks",
        ),
        pytest.param(lambda: manager(signals=0), "signals", "start and close", id="no signals"),
        pytest.param(lambda: manager(clock=5), "clock", "native", id="no clock"),
        pytest.param(
            lambda: manager().worker(print),  # type: ignore[arg-type]
            "name",
            "a string",
            id="a decorator without its parentheses",
        ),
    ],
)
def test_a_wrong_kind_of_value_is_refused_at_once(
    make: Callable[[], object], argument: str, fix: str
) -> None:
    with pytest.raises(InvalidTypeError, match=fix) as refused:
        make()
    assert refused.value.argument == argument


async def test_a_question_with_a_wrong_kind_of_value_is_refused(tmp_path: Path) -> None:
    async with WorkManager(tmp_path / "w.db", run=False) as manager:
        for argument, ask in {
            "statuses": manager.list_tasks(statuses=None),  # type: ignore[arg-type]
            "skip_pruned": anext(aiter(manager.events(skip_pruned=1))),  # type: ignore[arg-type]
            "follow": anext(aiter(manager.events(follow=None))),  # type: ignore[arg-type]
            "tasks": manager.enqueue_all(None),  # type: ignore[arg-type]
        }.items():
            with pytest.raises(InvalidTypeError) as refused:
                await ask
            assert refused.value.argument == argument


class Urgency(enum.IntEnum):
    HIGH = 7


def test_a_number_may_be_of_an_enum_and_a_trigger_by_itself_is_at_once() -> None:
    worker = PythonWorker("x")
    assert Task("x", worker, priority=Urgency.HIGH).wire.priority == 7
    assert TaskTrigger() == TaskTrigger.one_time()
    assert Task("x", worker, trigger=TaskTrigger()) == Task("x", worker)


async def callback(_: object, __: object) -> None:
    """Never runs."""


@pytest.mark.parametrize(
    ("options", "argument"),
    [
        pytest.param({"max_concurrent": 0}, "max_concurrent", id="no attempts"),
        pytest.param({"max_per_host": "4"}, "max_per_host", id="text"),
        pytest.param({"max_pending": 0}, "max_pending", id="no tasks"),
        pytest.param({"durability": "none"}, "durability", id="an unknown durability"),
        pytest.param({"allowed_roots": ["/no/such/folder"]}, "allowed_roots", id="no such root"),
        pytest.param({"allowed_roots": [5]}, "allowed_roots", id="a number"),
        pytest.param({"ca_file": 5}, "ca_file", id="a number for a file"),
        pytest.param({"workers": {"a": 5}}, "workers['a']", id="a callback that is none"),
        pytest.param({"workers": {"a": lambda: 5}}, "workers['a']", id="one without arguments"),
        pytest.param({"workers": "here"}, "workers", id="a word that means nothing"),
        pytest.param({"secrets": {"a": 5}}, "secrets['a']", id="a provider that is none"),
        pytest.param({"secrets": [5]}, "secrets", id="providers without names"),
        pytest.param({"workers": {5: callback}}, "workers", id="a callback's name is text"),
        pytest.param({"close_timeout": -1}, "close_timeout", id="a negative wait"),
    ],
)
async def test_a_manager_that_makes_no_sense_does_not_open(
    tmp_path: Path, options: dict[str, Any], argument: str
) -> None:
    with pytest.raises(OuthaulError) as refused:
        async with WorkManager(tmp_path / "other.db", **options):
            pass
    assert refused.value.argument == argument
