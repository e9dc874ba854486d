"""WorkManager against a dictionary: statuses, tags, queries and events never disagree.

The store is a real file, and reopening it is a rule. The plan of a task travels in its input: what
its callback does at each attempt. Retries wait 10 s and up to 10 % more, delays are multiples of
20 s, and so are the steps of the clock: due times meet them exactly, and jitter never matters.
"""

from __future__ import annotations

import asyncio
import shutil
import tempfile
from dataclasses import dataclass, field
from datetime import timedelta
from pathlib import Path
from typing import Any, Literal

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule

from outhaul import (
    EventKind,
    PermanentFailure,
    PythonWorker,
    RetryPolicy,
    ScheduleResult,
    Stats,
    Task,
    TaskContext,
    TaskStatus,
    TaskTrigger,
    WorkManager,
)
from outhaul.testing import FakeClock

STEP_S = 20
RETRY_S = 10

Deed = Literal["done", "false", "raises", "gives up"]
ids = st.none() | st.sampled_from(["a", "b", "c", "d"])
tags = st.none() | st.sampled_from(["t", "u"])
plans = st.lists(st.sampled_from(["done", "false", "raises", "gives up"]), min_size=1, max_size=3)
steps = st.integers(0, 2)


@dataclass
class Spec:
    """What is enqueued."""

    task_id: str | None
    tag: str | None
    plan: list[Deed]
    delay_steps: int
    retries: int
    policy: str

    def task(self) -> Task:
        return Task(
            self.task_id,
            PythonWorker("work", self.plan),
            tag=self.tag,
            trigger=TaskTrigger.one_time(timedelta(seconds=self.delay_steps * STEP_S)),
            retry=RetryPolicy(max_retries=self.retries, initial_delay=RETRY_S, multiplier=1),
            existing_policy=self.policy,
        )


@dataclass
class Row:
    """A task as the model has it."""

    spec: Spec
    due_s: float
    task_id: str = ""
    status: TaskStatus = TaskStatus.PENDING
    attempt: int = 0
    kinds: list[EventKind] = field(default_factory=lambda: [EventKind.ENQUEUED])

    @property
    def is_live(self) -> bool:
        return self.status is TaskStatus.PENDING

    def end(self, status: TaskStatus, kind: EventKind) -> None:
        self.status = status
        self.kinds.append(kind)

    def run(self, now_s: float) -> None:
        """One attempt, by the plan; the last deed is repeated."""
        self.attempt += 1
        self.kinds.append(EventKind.STARTED)
        deed = self.spec.plan[min(self.attempt, len(self.spec.plan)) - 1]
        if deed == "done":
            self.end(TaskStatus.COMPLETED, EventKind.COMPLETED)
        elif deed == "gives up" or self.attempt > self.spec.retries:
            self.end(TaskStatus.FAILED, EventKind.FAILED)
        else:
            self.kinds.append(EventKind.RETRY_SCHEDULED)
            self.due_s = now_s + RETRY_S * 1.1


async def work(plan: list[Deed], ctx: TaskContext) -> object:
    match plan[min(ctx.attempt, len(plan)) - 1]:
        case "done":
            return {"attempt": ctx.attempt}
        case "false":
            return False
        case "raises":
            raise RuntimeError("as planned")
        case _:
            raise PermanentFailure("as planned")


specs = st.builds(
    Spec,
    task_id=ids,
    tag=tags,
    plan=plans,
    delay_steps=steps,
    retries=st.integers(0, 2),
    policy=st.sampled_from(["keep", "replace"]),
)


class WorkManagerMachine(RuleBasedStateMachine):
    def __init__(self) -> None:
        super().__init__()
        self.runner = asyncio.Runner()
        self.folder = Path(tempfile.mkdtemp(prefix="outhaul-model-"))
        self.clock = FakeClock()
        self.now_s = 0.0
        self.rows: dict[int, Row] = {}  # by key, in the order of their enqueue
        self.manager: WorkManager

    @initialize()
    def open(self) -> None:
        self.manager = WorkManager(
            self.folder / "work.db", workers={"work": work}, clock=self.clock, durability="os"
        )
        self.run(self.manager.__aenter__())

    def run(self, awaitable: Any) -> Any:  # noqa: ANN401 — whatever the verb answers
        return self.runner.run(awaitable)

    def live(self, task_id: str | None) -> Row | None:
        if task_id is None:
            return None
        rows = [row for row in self.rows.values() if row.spec.task_id == task_id and row.is_live]
        assert len(rows) <= 1
        return rows[0] if rows else None

    def take(self, handle: Any, spec: Spec) -> None:  # noqa: ANN401 — a TaskHandle
        """What one enqueue does to the model, and what it must have answered."""
        taken = self.live(spec.task_id)
        if taken is not None and spec.policy == "keep":
            assert handle.schedule_result is ScheduleResult.KEPT
            assert self.rows[handle.key] is taken
            return
        if taken is not None:
            taken.end(TaskStatus.CANCELLED, EventKind.REPLACED)
        assert handle.schedule_result is ScheduleResult.ACCEPTED
        assert handle.key > max(self.rows, default=0)
        assert spec.task_id in {None, handle.task_id}
        due_s = self.now_s + spec.delay_steps * STEP_S
        self.rows[handle.key] = Row(spec, due_s, handle.task_id)

    def settle(self) -> None:
        """Everything that is due has run, here and there."""
        self.run(self.manager.wait_idle())
        for row in self.rows.values():
            while row.is_live and row.due_s <= self.now_s:
                row.run(self.now_s)

    @rule(spec=specs)
    def enqueue(self, spec: Spec) -> None:
        (handle,) = self.run(self.manager.enqueue_all([spec.task()]))
        self.take(handle, spec)
        self.settle()

    @rule(several=st.lists(specs, min_size=2, max_size=5))
    def enqueue_all(self, several: list[Spec]) -> None:
        handles = self.run(self.manager.enqueue_all([spec.task() for spec in several]))
        assert len(handles) == len(several)
        for handle, spec in zip(handles, several, strict=True):
            self.take(handle, spec)
        self.settle()

    def cancel_rows(self, rows: list[Row]) -> int:
        ended = [row for row in rows if row.is_live]
        for row in ended:
            row.end(TaskStatus.CANCELLED, EventKind.CANCELLED)
        return len(ended)

    @rule(task_id=st.sampled_from(["a", "b", "c", "d"]))
    def cancel_by_id(self, task_id: str) -> None:
        taken = self.live(task_id)
        assert self.run(self.manager.cancel(task_id)) is (taken is not None)
        self.cancel_rows([taken] if taken else [])

    @rule(pick=st.integers(0, 30))
    def cancel_by_handle(self, pick: int) -> None:
        if self.rows:
            row = list(self.rows.values())[pick % len(self.rows)]
            newest = self.newest(row.task_id)
            handle = self.run(self.manager.get_handle(row.task_id))
            assert self.rows[handle.key] is newest
            assert self.run(handle.cancel()) is newest.is_live
            self.cancel_rows([newest])

    @rule(tag=st.sampled_from(["t", "u", "v"]))
    def cancel_by_tag(self, tag: str) -> None:
        rows = [row for row in self.rows.values() if row.spec.tag == tag]
        assert self.run(self.manager.cancel_by_tag(tag)) == self.cancel_rows(rows)

    @rule()
    def cancel_all(self) -> None:
        assert self.run(self.manager.cancel_all()) == self.cancel_rows([*self.rows.values()])

    @rule(number=steps)
    def pass_time(self, number: int) -> None:
        for _ in range(number):
            self.clock.advance(STEP_S)
            self.now_s += STEP_S
            self.settle()

    @rule(number=steps)
    def pass_time_while_closed(self, number: int) -> None:
        self.run(self.manager.close())
        self.clock.advance(STEP_S * number)
        self.now_s += STEP_S * number
        self.open()
        self.settle()

    def newest(self, task_id: str) -> Row:
        return [row for row in self.rows.values() if row.task_id == task_id][-1]

    @invariant()
    def queries_agree(self) -> None:
        if not hasattr(self, "manager"):
            return
        records = self.run(self.manager.get_tasks_by_status())
        stored = [(r.key, r.task_id, r.status, r.tag, r.attempt) for r in records]
        assert stored == [
            (key, row.task_id, row.status, row.spec.tag, row.attempt)
            for key, row in self.rows.items()
        ]
        for record in records:
            row = self.rows[record.key]
            waits = "retry" if row.attempt else "time"
            assert record.waiting_on == (waits if row.is_live else None)
            assert (record.finished_at_ms is None) is row.is_live
        counted = [row.status.value for row in self.rows.values()]
        assert self.run(self.manager.stats()) == Stats(
            **{status: counted.count(status) for status in counted},
            last_event=sum(len(row.kinds) for row in self.rows.values()),
        )
        tags = {row.spec.tag for row in self.rows.values() if row.spec.tag}
        assert self.run(self.manager.all_tags()) == sorted(tags)
        for tag in ("t", "v"):
            live = self.run(self.manager.get_tasks_by_tag(tag))
            assert [record.key for record in live] == [
                key for key, row in self.rows.items() if row.spec.tag == tag and row.is_live
            ]
        for task_id in ("a", "d"):
            status = self.run(self.manager.get_task_status(task_id))
            known = any(row.task_id == task_id for row in self.rows.values())
            assert status == (self.newest(task_id).status if known else None)

    async def _events(self, **which: Any) -> list[Any]:  # noqa: ANN401 — TaskEvent, filters
        return [event async for event in self.manager.events(after=0, follow=False, **which)]

    @invariant()
    def events_agree(self) -> None:
        if not hasattr(self, "manager"):
            return
        events = self.run(self._events())
        numbers = [event.seq for event in events]
        assert numbers == sorted(set(numbers))
        kinds: dict[int, list[EventKind]] = {}
        for event in events:
            kinds.setdefault(event.key, []).append(event.kind)
        assert kinds == {key: row.kinds for key, row in self.rows.items()}
        tagged = [event.seq for event in events if event.tag == "t"]
        assert [event.seq for event in self.run(self._events(tag="t"))] == tagged
        named = [event.seq for event in events if event.task_id == "a"]
        assert [event.seq for event in self.run(self._events(task_id="a"))] == named

    def teardown(self) -> None:
        if hasattr(self, "manager"):
            self.run(self.manager.close())
        self.runner.close()
        shutil.rmtree(self.folder)


WorkManagerMachine.TestCase.settings = settings(stateful_step_count=15, deadline=None)
# A failure is made small before it is shown, which takes longer than all that pass.
TestWorkManager = pytest.mark.timeout(300)(WorkManagerMachine.TestCase)
