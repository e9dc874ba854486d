"""`ProgressMeter` against the plainest meter there can be, driven together."""

from typing import TypeAlias

import hypothesis.strategies as st
import pytest
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule

from outhaul._native import ProgressMeter

Update: TypeAlias = tuple[int, int, int, int, float, int | None]

NEVER = 2**64 - 1
counts = st.one_of(st.integers(0, 20), st.integers(0, 250), st.just(NEVER))


class MeterMachine(RuleBasedStateMachine):
    """One transfer: attempts, acknowledgements, an answer, and a clock."""

    @initialize(
        total=st.one_of(st.sampled_from([0, 1, 99, 100, 101]), st.integers(0, 250)),
        interval_ms=st.sampled_from([0, 1, 5]),
    )
    def make(self, total: int, interval_ms: int) -> None:
        self.real = ProgressMeter(total, interval_min_ms=interval_ms)
        self.total, self.interval_ms = total, interval_ms
        self.now_ms = self.told_ms = 0
        self.sent_most = self.acknowledged_most = self.told_percent = 0
        self.answered = False
        self.updates_in_attempt = 0
        self.begin()

    def told(self, update: Update) -> None:
        percent, sent, acknowledged, total, rate, remaining_ms = update
        assert (percent, sent, acknowledged) == (
            self.told_percent,
            self.sent_most,
            self.acknowledged_most,
        )
        assert total == self.total
        assert rate >= 0
        assert remaining_ms is None or remaining_ms >= 0
        self.told_ms = self.now_ms
        self.updates_in_attempt += 1

    def floor(self) -> int:
        return min(99, self.sent_most * 100 // self.total) if self.total else 0

    def told_if_due(self, update: Update | None) -> None:
        waited = self.now_ms - self.told_ms >= self.interval_ms
        if self.answered or not waited or self.floor() <= self.told_percent:
            assert update is None
        else:
            self.told_percent = self.floor()
            assert update is not None
            self.told(update)

    @rule()
    def begin(self) -> None:
        self.updates_in_attempt = 0
        self.told(self.real.begin(now_ms=self.now_ms))

    @rule(step_ms=st.integers(0, 6))
    def pass_time(self, step_ms: int) -> None:
        self.now_ms += step_ms

    @rule(count=counts)
    def sent(self, count: int) -> None:
        gate = self.real.next_gate
        self.sent_most = max(self.sent_most, min(count, self.total))
        update = self.real.sent(count, now_ms=self.now_ms)
        self.told_if_due(update)
        assert update is None or gate <= self.total

    @rule(count=counts)
    def acknowledged(self, count: int) -> None:
        count_here = min(count, self.total)
        self.acknowledged_most = max(self.acknowledged_most, count_here)
        self.sent_most = max(self.sent_most, count_here)
        self.told_if_due(self.real.acknowledged(count, now_ms=self.now_ms))

    @rule()
    def answer(self) -> None:
        self.answered = True
        self.sent_most = self.acknowledged_most = self.total
        self.told_percent = 100
        update = self.real.answered(now_ms=self.now_ms)
        self.told(update)
        assert update[5] == 0

    @invariant()
    def the_percentage_is_what_was_told(self) -> None:
        assert self.real.percent == self.told_percent
        assert (self.real.percent == 100) == self.answered

    @invariant()
    def the_gate_is_the_next_percent(self) -> None:
        done = self.told_percent >= 99 or self.total == 0
        gate = NEVER if done else -(-(self.told_percent + 1) * self.total // 100)
        assert self.real.next_gate == gate


TestMeter = MeterMachine.TestCase


def test_a_whole_transfer_makes_101_updates() -> None:
    meter = ProgressMeter(100_000, interval_min_ms=0)
    updates = [meter.begin(now_ms=0)]
    for sent in range(0, 100_001, 10):
        update = meter.sent(sent, now_ms=sent)
        if update is not None:
            updates.append(update)
    updates.append(meter.answered(now_ms=100_001))
    assert [update[0] for update in updates] == list(range(101))


def test_a_mark_is_where_the_next_attempt_begins() -> None:
    meter = ProgressMeter(1_000, mark_percent=42)
    percent, sent, *_ = meter.begin(now_ms=0)
    assert percent == 42
    assert 420 <= sent < 430
    assert meter.sent(420, now_ms=1_000) is None


def test_the_rate_is_bytes_per_second() -> None:
    meter = ProgressMeter(1_000)
    meter.begin(now_ms=0)
    update = meter.sent(250, now_ms=500)
    assert update is not None
    *counts, rate, remaining_ms = update
    assert (counts, remaining_ms) == ([25, 250, 0, 1_000], 1_500)
    assert rate == pytest.approx(500.0)


def test_numbers_that_do_not_fit_are_refused() -> None:
    with pytest.raises(OverflowError):
        ProgressMeter(-1)
    with pytest.raises(OverflowError):
        ProgressMeter(0).sent(2**64, now_ms=0)
