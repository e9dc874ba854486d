"""`outhaul bench`: what it leaves to the suite."""

from __future__ import annotations

import signal

import pytest
from tests.unit.cli.fakes import command


def test_ctrl_c_lets_the_benchmarks_clean_up(db: str, monkeypatch: pytest.MonkeyPatch) -> None:
    cleaned, taken = [], []

    def main(given: list[str]) -> int:
        try:
            signal.raise_signal(signal.SIGINT)
        finally:
            cleaned.append(given)
        return 0

    monkeypatch.setattr("outhaul_bench.run.main", main)
    before = signal.signal(signal.SIGINT, lambda number, _: taken.append(number))
    try:
        ended = command(db, "bench", "noop", "--tiny")
        signal.raise_signal(signal.SIGINT)
    finally:
        signal.signal(signal.SIGINT, before)
    assert (ended.exit_code, ended.stderr) == (130, "")
    assert cleaned == [["noop", "--tiny"]]
    assert taken == [signal.SIGINT]  # only the one that came later


def test_ctrl_c_that_the_caller_ignores_is_ignored(
    db: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    def main(_: list[str]) -> int:
        signal.raise_signal(signal.SIGINT)
        return 0

    monkeypatch.setattr("outhaul_bench.run.main", main)
    before = signal.signal(signal.SIGINT, signal.SIG_IGN)
    try:
        assert command(db, "bench").exit_code == 0
    finally:
        signal.signal(signal.SIGINT, before)
