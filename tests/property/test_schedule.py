"""Laws of the run queue, over inputs full of ties."""

from collections import Counter

import pytest
from hypothesis import given
from hypothesis import strategies as st

from outhaul._native import Schedule
from outhaul.errors import AlreadyQueuedError, QueueFullError

FOREVER_MS = 2**62

# (task_id, due_ms, priority, lane) in order of arrival; few values, many ties
Entries = list[tuple[int, int, int, int]]
entries = st.lists(
    st.tuples(st.integers(0, 999), st.integers(0, 9), st.integers(-2, 2), st.integers(0, 2)),
    unique_by=lambda entry: entry[0],
    max_size=60,
)


def filled(waiting: Entries, *, ageing_ms: int = 60_000, running_max: int = 64) -> Schedule:
    schedule = Schedule(capacity=100, running_max=running_max, ageing_ms=ageing_ms)
    for task_id, due_ms, priority, lane in waiting:
        schedule.push(task_id, due_ms=due_ms, priority=priority, lane=lane, now_ms=-1)
    return schedule


def in_one_lane(waiting: Entries) -> Entries:
    return [(task_id, due_ms, priority, 0) for task_id, due_ms, priority, _ in waiting]


@given(entries)
def test_a_strict_lane_drains_by_priority_then_due_time_then_arrival(waiting: Entries) -> None:
    in_order = sorted(waiting, key=lambda e: (-e[2], e[1]))  # sorted() is stable
    schedule = filled(in_one_lane(waiting), ageing_ms=0)
    assert schedule.pop_due(now_ms=FOREVER_MS, limit=1_000) == [e[0] for e in in_order]


@given(entries, st.integers(1, 4))
def test_a_level_of_priority_is_worth_its_ageing_time(waiting: Entries, ageing_ms: int) -> None:
    in_order = sorted(waiting, key=lambda e: (e[1] - e[2] * ageing_ms, e[1]))
    schedule = filled(in_one_lane(waiting), ageing_ms=ageing_ms)
    assert schedule.pop_due(now_ms=FOREVER_MS, limit=1_000) == [e[0] for e in in_order]


@given(entries, st.integers(1, 7))
def test_popping_in_batches_is_popping_all_at_once(waiting: Entries, limit: int) -> None:
    batched: list[int] = []
    schedule = filled(waiting)
    while batch := schedule.pop_due(now_ms=FOREVER_MS, limit=limit):
        assert len(batch) <= limit
        batched += batch
    assert batched == filled(waiting).pop_due(now_ms=FOREVER_MS, limit=1_000)


@given(entries, st.integers(-1, 10))
def test_exactly_what_is_due_is_popped(waiting: Entries, now_ms: int) -> None:
    popped = filled(waiting).pop_due(now_ms=now_ms, limit=1_000)
    assert sorted(popped) == sorted(e[0] for e in waiting if e[1] <= now_ms)


@given(entries)
def test_lanes_with_work_never_differ_by_more_than_one_task(waiting: Entries) -> None:
    lane_of = {task_id: lane for task_id, _, _, lane in waiting}
    left = Counter(lane_of.values())
    taken = dict.fromkeys(left, 0)
    for task_id in filled(waiting).pop_due(now_ms=FOREVER_MS, limit=1_000):
        left[lane_of[task_id]] -= 1
        taken[lane_of[task_id]] += 1
        busy = [taken[lane] for lane in taken if left[lane]]
        assert max(busy, default=0) - min(busy, default=0) <= 1


@given(entries, st.integers(0, 3), st.integers(1, 6))
def test_no_limit_is_exceeded(waiting: Entries, lane_max: int, running_max: int) -> None:
    lane_of = {task_id: lane for task_id, _, _, lane in waiting}
    schedule = filled(waiting, running_max=running_max)
    for lane in range(3):
        schedule.set_lane_limit(lane, running_max=lane_max)
    running: Counter[int] = Counter()
    while (task_id := schedule.take(now_ms=FOREVER_MS)) is not None:
        running[lane_of[task_id]] += 1
    per_lane = Counter(lane_of.values())
    assert all(n <= lane_max for n in running.values())
    assert running.total() == min(running_max, sum(min(lane_max, n) for n in per_lane.values()))


@given(entries, st.integers(1, 3))
def test_a_lost_signal_parks_exactly_those_that_need_it(waiting: Entries, unmet: int) -> None:
    schedule = Schedule()
    schedule.set_unmet(unmet)
    for task_id, due_ms, _, lane in waiting:
        schedule.push(task_id, due_ms=due_ms, needs=lane)
    popped = schedule.pop_due(now_ms=FOREVER_MS, limit=1_000)
    assert sorted(popped) == sorted(e[0] for e in waiting if not e[3] & unmet)
    schedule.set_unmet(0)
    rest = schedule.pop_due(now_ms=FOREVER_MS, limit=1_000)
    assert sorted(popped + rest) == sorted(e[0] for e in waiting)


def test_what_a_task_waits_for_can_be_asked() -> None:
    schedule = Schedule()
    schedule.push(7, due_ms=5, needs=0b10)
    assert schedule.waiting(7) == "time"
    schedule.set_unmet(0b10)
    assert schedule.take(now_ms=5) is None
    assert schedule.waiting(7) == "constraint"
    schedule.set_unmet(0b01)
    assert schedule.waiting(7) == "slot"
    assert schedule.waiting(8) is None


def test_a_lane_that_is_already_running_is_counted() -> None:
    schedule = Schedule()
    schedule.set_lane_limit(4, running_max=1)
    schedule.occupy(4)
    schedule.push(1, due_ms=0, lane=4)
    assert schedule.take(now_ms=0) is None
    assert schedule.release(4)
    assert schedule.take(now_ms=0) == 1


def test_lifting_a_limit_lets_the_lane_run() -> None:
    schedule = Schedule()
    schedule.set_lane_limit(0, running_max=0)
    schedule.push(1, due_ms=0)
    assert schedule.take(now_ms=0) is None
    schedule.set_lane_limit(0, running_max=None)
    assert schedule.take(now_ms=0) == 1


def test_the_refusals_say_which_argument_and_why() -> None:
    schedule = Schedule(capacity=1)
    schedule.push(1, due_ms=0)
    with pytest.raises(AlreadyQueuedError, match="task 1 is already waiting"):
        schedule.push(1, due_ms=0)
    with pytest.raises(QueueFullError, match="1 tasks are waiting"):
        schedule.push(2, due_ms=0)


@pytest.mark.parametrize(
    "arguments",
    [
        pytest.param({"task_id": -1, "due_ms": 0}, id="a negative task id"),
        pytest.param({"task_id": 2**64, "due_ms": 0}, id="a task id of 65 bits"),
        pytest.param({"task_id": 0, "due_ms": 2**63}, id="a time of 64 bits"),
        pytest.param({"task_id": 0, "due_ms": 0, "priority": 2**31}, id="a priority of 32 bits"),
        pytest.param({"task_id": 0, "due_ms": 0, "lane": 2**32}, id="a lane of 33 bits"),
    ],
)
def test_a_number_that_does_not_fit_is_refused(arguments: dict[str, int]) -> None:
    schedule = Schedule()
    with pytest.raises(OverflowError):
        schedule.push(**arguments)
    assert len(schedule) == 0
