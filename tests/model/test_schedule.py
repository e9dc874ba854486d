"""The run queue beside a dict that is sorted afresh for every question. They never disagree."""

from dataclasses import dataclass

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule

from outhaul._native import Schedule
from outhaul.errors import AlreadyQueuedError, QueueFullError

CAPACITY = 6
RUNNING_MAX = 3
task_ids = st.integers(0, 9)  # few, so that they collide; drawn, so that they don't follow arrival
delays_ms = st.integers(-2, 6)
priorities = st.integers(-2, 2)
masks = st.integers(0, 3)


@dataclass
class Waiter:
    due_ms: int
    priority: int
    needs: int
    turn: int
    is_due: bool


class ScheduleMachine(RuleBasedStateMachine):
    """One lane; the turns between lanes have their model in Rust and their laws beside this."""

    @initialize(ageing_ms=st.sampled_from([0, 1, 2, 60_000]))
    def begin(self, ageing_ms: int) -> None:
        self.real = Schedule(capacity=CAPACITY, running_max=RUNNING_MAX, ageing_ms=ageing_ms)
        self.model: dict[int, Waiter] = {}
        self.ageing_ms = ageing_ms
        self.now_ms = 0
        self.turns = 0
        self.unmet = 0
        self.running = 0

    def turn(self) -> int:
        self.turns += 1
        return self.turns

    def order(self, task_id: int) -> tuple[int, int]:
        waiter = self.model[task_id]
        aged = waiter.due_ms - waiter.priority * self.ageing_ms
        return (aged if self.ageing_ms else -waiter.priority, waiter.turn)

    def advance(self) -> None:
        late = [w for w in self.model.values() if not w.is_due and w.due_ms <= self.now_ms]
        for waiter in sorted(late, key=lambda w: (w.due_ms, w.turn)):
            waiter.turn = self.turn()
            waiter.is_due = True

    def ready(self) -> list[int]:
        met = [i for i, w in self.model.items() if w.is_due and not w.needs & self.unmet]
        return sorted(met, key=self.order)

    @rule(task_id=task_ids, delay_ms=delays_ms, priority=priorities, needs=masks)
    def push(self, task_id: int, delay_ms: int, priority: int, needs: int) -> None:
        due_ms = self.now_ms + delay_ms

        def push() -> None:
            self.real.push(
                task_id, due_ms=due_ms, priority=priority, needs=needs, now_ms=self.now_ms
            )

        if task_id in self.model:
            with pytest.raises(AlreadyQueuedError):
                push()
        elif len(self.model) >= CAPACITY:
            with pytest.raises(QueueFullError):
                push()
        else:
            push()
            is_due = due_ms <= self.now_ms
            self.model[task_id] = Waiter(due_ms, priority, needs, self.turn(), is_due)

    @rule(task_id=task_ids)
    def cancel(self, task_id: int) -> None:
        assert self.real.cancel(task_id) == (self.model.pop(task_id, None) is not None)

    @rule(task_id=task_ids, delay_ms=delays_ms)
    def reschedule(self, task_id: int, delay_ms: int) -> None:
        due_ms = self.now_ms + delay_ms
        known = self.real.reschedule(task_id, due_ms=due_ms, now_ms=self.now_ms)
        assert known == (task_id in self.model)
        if known:
            waiter = self.model[task_id]
            waiter.due_ms, waiter.turn = due_ms, self.turn()
            waiter.is_due = due_ms <= self.now_ms

    @rule(task_id=task_ids, priority=priorities)
    def reprioritise(self, task_id: int, priority: int) -> None:
        assert self.real.reprioritise(task_id, priority=priority) == (task_id in self.model)
        if task_id in self.model:
            self.model[task_id].priority = priority

    @rule(unmet=masks)
    def change_signals(self, unmet: int) -> None:
        self.real.set_unmet(unmet)
        self.unmet = unmet

    @rule(step_ms=st.integers(0, 4), limit=st.integers(0, 4))
    def pass_time_and_pop(self, step_ms: int, limit: int) -> None:
        self.now_ms += step_ms
        self.advance()
        expected = self.ready()[:limit] if self.running < RUNNING_MAX else []
        assert self.real.pop_due(now_ms=self.now_ms, limit=limit) == expected
        for task_id in expected:
            del self.model[task_id]

    @rule(step_ms=st.integers(0, 4))
    def pass_time_and_take(self, step_ms: int) -> None:
        self.now_ms += step_ms
        self.advance()
        ready = self.ready()
        expected = ready[0] if ready and self.running < RUNNING_MAX else None
        assert self.real.take(now_ms=self.now_ms) == expected
        if expected is not None:
            del self.model[expected]
            self.running += 1

    @rule()
    def release(self) -> None:
        assert self.real.release(0) == (self.running > 0)
        self.running = max(0, self.running - 1)

    @invariant()
    def counts_agree(self) -> None:
        delayed = sum(not waiter.is_due for waiter in self.model.values())
        ready = len(self.ready())
        parked = len(self.model) - delayed - ready
        assert self.real.counts() == (delayed, ready, parked, self.running)
        assert len(self.real) == len(self.model)

    @invariant()
    def the_next_due_time_is_exact(self) -> None:
        waiting = [w.due_ms for w in self.model.values() if not w.is_due]
        assert self.real.next_due_ms() == min(waiting, default=None)


TestSchedule = ScheduleMachine.TestCase
TestSchedule.settings = settings(max_examples=100, stateful_step_count=40)
