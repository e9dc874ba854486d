"""What is no list, no clock or no name is refused where it is given, with the argument's name."""

from __future__ import annotations

import enum
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from outhaul import AddressPolicy, NativeWorker, PythonWorker, Task, TaskTrigger, WorkManager
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
