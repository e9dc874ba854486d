"""Task, triggers, constraints and policies: ranges, defaults, and the wire."""

from __future__ import annotations

import pickle
from datetime import timedelta
from typing import TYPE_CHECKING, Any

import msgspec
import pytest

from outhaul import (
    Constraints,
    ExistingTaskPolicy,
    NetworkType,
    PythonWorker,
    RetryPolicy,
    Task,
    TaskTrigger,
    task_id_for,
)
from outhaul.errors import InvalidArgumentError, InvalidTypeError, OuthaulError

if TYPE_CHECKING:
    from collections.abc import Callable

WORKER = PythonWorker("count")


def test_a_task_with_defaults_says_all_of_them() -> None:
    assert msgspec.msgpack.decode(Task(None, WORKER).encoded) == [
        None,
        ["python", "count", b"\xc0"],
        ["one_time", 0],
        [None, False],
        "keep",
        [3, 30_000, 2.0, 3_600_000],
        None,
        0,
    ]


@pytest.mark.parametrize(("first", "longest"), [(3599, 3_600_000), (7200, 7_200_000)])
def test_no_wait_is_longer_than_an_hour_or_than_the_first_unless_said(
    first: int, longest: int
) -> None:
    assert RetryPolicy(initial_delay=first).wire.max_delay_ms == longest


def test_a_task_says_what_it_was_given() -> None:
    task = Task(
        "t1",
        WORKER,
        trigger=TaskTrigger.one_time(timedelta(minutes=1)),
        constraints=Constraints(network_type=NetworkType.CONNECTED),
        existing_policy=ExistingTaskPolicy.REPLACE,
        retry=RetryPolicy(max_retries=0, initial_delay=1, multiplier=1, max_delay=1.5),
        tag="x",
        priority=-3,
    )
    assert msgspec.msgpack.decode(task.encoded) == [
        "t1",
        ["python", "count", b"\xc0"],
        ["one_time", 60_000],
        ["connected", False],
        "replace",
        [0, 1_000, 1.0, 1_500],
        "x",
        -3,
    ]


one_time = TaskTrigger.one_time


def task(**changes: object) -> Task:
    arguments: dict[str, Any] = {"task_id": "a", "worker": WORKER, **changes}
    return Task(**arguments)


@pytest.mark.parametrize(
    ("call", "arguments", "error", "argument", "fix"),
    [
        pytest.param(
            task, {"task_id": 1}, InvalidTypeError, "task_id", "string", id="a number as id"
        ),
        pytest.param(
            task, {"worker": "b"}, InvalidTypeError, "worker", "NativeWorker", id="no worker"
        ),
        pytest.param(task, {"tag": 1}, InvalidTypeError, "tag", "string", id="a number as tag"),
        pytest.param(
            task,
            {"trigger": 5},
            InvalidTypeError,
            "trigger",
            "TaskTrigger",
            id="seconds as trigger",
        ),
        pytest.param(
            task,
            {"constraints": {}},
            InvalidTypeError,
            "constraints",
            "Constraints",
            id="a dict as constraints",
        ),
        pytest.param(
            task,
            {"retry": 3},
            InvalidTypeError,
            "retry",
            "RetryPolicy",
            id="a number as retry policy",
        ),
        pytest.param(
            task,
            {"existing_policy": "append"},
            InvalidArgumentError,
            "existing_policy",
            "keep, replace",
            id="a policy that does not exist",
        ),
        pytest.param(
            task,
            {"existing_policy": None},
            InvalidTypeError,
            "existing_policy",
            "ExistingTaskPolicy",
            id="no policy",
        ),
        pytest.param(
            task,
            {"priority": 2**31},
            InvalidArgumentError,
            "priority",
            "2147483647",
            id="a priority beyond 32 bits",
        ),
        pytest.param(
            task,
            {"priority": True},
            InvalidTypeError,
            "priority",
            "integer",
            id="a bool as priority",
        ),
        pytest.param(
            task, {"tags": "x"}, InvalidTypeError, "tags", "did you mean tag?", id="a typo"
        ),
        pytest.param(
            one_time,
            {"initial_delay": -1},
            InvalidArgumentError,
            "initial_delay",
            "use 0",
            id="a negative delay",
        ),
        pytest.param(
            one_time,
            {"initial_delay": "5"},
            InvalidTypeError,
            "initial_delay",
            "timedelta",
            id="text as delay",
        ),
        pytest.param(
            one_time,
            {"initial_delay": float("inf")},
            InvalidArgumentError,
            "initial_delay",
            "10 years",
            id="for ever",
        ),
        pytest.param(
            one_time,
            {"delay": 1},
            InvalidTypeError,
            "delay",
            "initial_delay",
            id="a trigger's typo",
        ),
        pytest.param(
            RetryPolicy,
            {"max_retries": -1},
            InvalidArgumentError,
            "max_retries",
            "use 0",
            id="less than no retry",
        ),
        pytest.param(
            RetryPolicy,
            {"max_retries": 2.0},
            InvalidTypeError,
            "max_retries",
            "integer",
            id="a fraction of retries",
        ),
        pytest.param(
            RetryPolicy,
            {"multiplier": 0.5},
            InvalidArgumentError,
            "multiplier",
            "use 1",
            id="waits that shrink",
        ),
        pytest.param(
            RetryPolicy,
            {"multiplier": float("nan")},
            InvalidArgumentError,
            "multiplier",
            "use 1",
            id="times NaN",
        ),
        pytest.param(
            RetryPolicy,
            {"multiplier": "2"},
            InvalidTypeError,
            "multiplier",
            "number",
            id="text as multiplier",
        ),
        pytest.param(
            RetryPolicy,
            {"max_retry": 1},
            InvalidTypeError,
            "max_retry",
            "did you mean max_retries?",
            id="a policy's typo",
        ),
        pytest.param(
            Constraints,
            {"network_type": "wifi"},
            InvalidArgumentError,
            "network_type",
            "connected",
            id="a network that does not exist",
        ),
        pytest.param(
            Constraints,
            {"network_type": 1},
            InvalidTypeError,
            "network_type",
            "NetworkType",
            id="a number as network",
        ),
        pytest.param(
            Constraints,
            {"requires_network": 1},
            InvalidTypeError,
            "requires_network",
            "True",
            id="a number as yes",
        ),
        pytest.param(
            Constraints,
            {"requires_network": True, "network_type": "connected"},
            InvalidArgumentError,
            "requires_network",
            "one of them",
            id="both names",
        ),
        pytest.param(
            Constraints,
            {"device_idle": True},
            InvalidTypeError,
            "device_idle",
            "network_type",
            id="a condition nobody judges yet",
        ),
    ],
)
def test_bad_input_is_one_typed_error_that_names_the_argument(
    call: Callable[..., object],
    arguments: dict[str, object],
    error: type[OuthaulError],
    argument: str,
    fix: str,
) -> None:
    with pytest.raises(error) as caught:
        call(**arguments)
    assert caught.value.argument == argument
    assert fix in caught.value.message


def test_the_guide_s_name_for_a_network_means_the_same() -> None:
    connected = Constraints(network_type="connected")
    assert Constraints(requires_network=True) == connected
    assert Constraints(requires_network=False) == Constraints.NONE


def test_one_attempt_only_is_a_preset() -> None:
    assert RetryPolicy(max_retries=0) == RetryPolicy.NONE


def test_a_value_survives_pickle() -> None:
    task = Task("t1", WORKER, tag="x")
    assert pickle.loads(pickle.dumps(task)) == task


def test_the_same_file_and_address_have_the_same_id_for_ever() -> None:
    assert task_id_for("/data/a.jpg", "https://x.example/") == (
        "upload-31eb62fe120dc6b5a9609f67742dab5d"
    )


def test_another_file_or_address_has_another_id() -> None:
    one = task_id_for("/data/a.jpg", "https://x.example/")
    assert one == task_id_for("/data/./a.jpg", "https://x.example/")
    assert one != task_id_for("/data/b.jpg", "https://x.example/")
    assert one != task_id_for("/data/a.jpg", "https://y.example/")
