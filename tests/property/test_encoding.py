"""A task is encoded in a short way for `enqueue`, to the same bytes."""

from __future__ import annotations

import pickle
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from outhaul import (
    Constraints,
    ExistingTaskPolicy,
    NativeWorker,
    PythonWorker,
    RetryPolicy,
    Task,
    TaskTrigger,
)
from outhaul.errors import InvalidTypeError
from outhaul.tasks import encoded
from outhaul.wire import PythonSpec, TaskSpec, encode

# Few of each, so that neighbours often share some of their terms and not others.
WORKERS = st.sampled_from(
    [
        PythonWorker("resize", {"id": 1}),
        PythonWorker("größe", [None] * 20),
        PythonWorker("x" * 40, b"\0" * 70_000),
        NativeWorker.http_upload(url="https://example.org/", file_path="/a", headers={"X-Id": "7"}),
    ]
)
TASKS = st.tuples(
    st.sampled_from([None, "a", "größe", "t" * 40]),
    WORKERS,
    st.sampled_from([TaskTrigger.one_time(), TaskTrigger.one_time(3600)]),
    st.sampled_from([Constraints(), Constraints(battery_not_low=True)]),
    st.sampled_from([ExistingTaskPolicy.KEEP, ExistingTaskPolicy.REPLACE, "replace"]),
    st.sampled_from([RetryPolicy(), RetryPolicy.NONE]),
    st.sampled_from([None, "photos"]),
    st.sampled_from([0, 1, -(2**31)]),
)
NAMES = ("trigger", "constraints", "existing_policy", "retry", "tag", "priority")


def spec(
    task_id: str | None,
    worker: PythonWorker | NativeWorker,
    *terms: Any,  # noqa: ANN401 — several types
) -> TaskSpec:
    trigger, constraints, policy, retry, tag, priority = terms
    return TaskSpec(
        task_id=task_id,
        worker=worker.wire,
        trigger=trigger.wire,
        constraints=constraints.wire,
        existing_policy=ExistingTaskPolicy(policy),
        retry=retry.wire,
        tag=tag,
        priority=priority,
    )


@given(st.lists(TASKS, min_size=1, max_size=8))
def test_whatever_came_before_a_task_is_encoded_as_by_itself(tasks: list[tuple[Any, ...]]) -> None:
    for task_id, worker, *terms in tasks:
        said = spec(task_id, worker, *terms)
        task = Task(task_id, worker, **dict(zip(NAMES, terms, strict=True)))
        assert encoded(task_id, worker, *terms) == task.encoded == encode(said)
        assert task.wire == said


@pytest.mark.parametrize("at", range(8))
def test_what_is_wrong_is_refused_however_often_the_rest_was_right(at: int) -> None:
    right: list[Any] = ["a", PythonWorker("resize"), TaskTrigger.one_time(), Constraints(), "keep"]
    right += [RetryPolicy(), "t", 1]
    before = encoded(*right)
    wrong = [*right]
    wrong[at] = 1.0  # also where 1 is right
    for _ in range(2):
        with pytest.raises(InvalidTypeError):
            encoded(*wrong)
        assert encoded(*right) == before


@given(
    st.text(),
    st.none() | st.integers(-5, 2**64 - 1) | st.binary() | st.dictionaries(st.text(), st.text()),
)
def test_a_python_worker_keeps_what_its_struct_would_say(callback_id: str, given: object) -> None:
    worker = PythonWorker(callback_id, given)
    assert worker.wire == PythonSpec(callback_id=callback_id, input=encode(given))
    assert worker.encoded == encode(worker.wire)
    assert pickle.loads(pickle.dumps(worker)) == worker
