"""A contest: contenders that do the same work in turn, and the goals that are read off it."""

from __future__ import annotations

import contextlib
import dataclasses
import importlib.util
import math
import shutil
import statistics
import time
from collections.abc import Callable
from contextlib import AbstractContextManager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, NamedTuple

from outhaul_bench import programs
from outhaul_bench.child import ChildFailedError, measure
from outhaul_bench.measure import percentile

Arguments = dict[str, Any]
Sample = dict[str, float]
OURS = "outhaul"
ABOUT = "about"  # what a setup says of itself, among its arguments
ROUND = "round"  # in which a sample was taken
LATE = "late_ms"  # the ticks of all rounds together


class NotHereError(Exception):
    """This machine cannot hold the contest; the message says why."""


@dataclass(frozen=True)
class Contender:
    """Who takes part. `needs` are modules, or programs written with a leading `$`.

    Attributes:
        is_quick: Whether it takes part in the quick run, too.
        at: Where it stands on the axis, of a contest that has one.
    """

    name: str
    target: str
    arguments: Arguments = field(default_factory=dict)
    needs: tuple[str, ...] = ()
    is_quick: bool = True
    at: float | None = None

    def missing(self) -> str:
        """What is not installed here."""
        return ", ".join(need.lstrip("$") for need in self.needs if not _is_here(need))


class Column(NamedTuple):
    """A figure of the table."""

    member: str
    title: str
    digits: int = 0


class Workshop:
    """A directory on a real disk, and the files in it."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self._made = 0

    def fresh(self) -> str:
        """A path nobody has used: every measurement starts with an empty store."""
        self._made += 1
        path = self.folder / f"store-{self._made}"
        path.mkdir()
        return str(path)


Setup = Callable[[Workshop], AbstractContextManager[Arguments]]


class Results(dict[str, list[Sample]]):
    """The samples of each contender, the ticks of its event loop, and why some have none.

    Attributes:
        failed: Who has failed in a round, though perhaps not in all.
        about: What has to be known of the contest itself, such as the kind of its link.
    """

    def __init__(self) -> None:
        super().__init__()
        self.late_ms: dict[str, list[float]] = {}
        self.absent: dict[str, str] = {}
        self.failed: set[str] = set()
        self.about: dict[str, str] = {}

    def median(self, name: str, member: str) -> float | None:
        values = self.values_of(name, member)
        return statistics.median(values) if values else None

    def values_of(self, name: str, member: str) -> list[float]:
        return [sample[member] for sample in self.get(name, []) if member in sample]

    def by_round(self, name: str, member: str) -> dict[float, float]:
        """The figures of a contender, by the round in which each was measured."""
        samples = enumerate(self.get(name, []))
        return {one.get(ROUND, at): one[member] for at, one in samples if member in one}


class Verdict(NamedTuple):
    """A goal and how it went: `measured` is None where nobody could be compared.

    `is_met` is None, too, where it is met by those that were here, and others were not.
    """

    goal: str
    measured: float | None
    is_met: bool | None
    against: str


@dataclass(frozen=True)
class Goal:
    """Something promised: a figure of ours, or its ratio or distance to the best of some peers.

    Attributes:
        peers_late_ms_max: Peers whose event loop was ever later than that do not count.
    """

    what: str
    member: str
    target: float
    at_least: bool = True
    peers: tuple[str, ...] = ()
    peers_late_ms_max: float = math.inf
    is_difference: bool = False
    of: str = OURS
    statistic: Callable[[list[float]], float] = statistics.median

    def judge(self, results: Results) -> Verdict:
        sign = ">=" if self.at_least else "<="
        times = "x" if self.peers and not self.is_difference else ""
        text = f"{self.what} {sign} {self.target:g}{times}"
        measured, against, is_complete = (
            self._compared(results) if self.peers else (self._alone(results), "", True)
        )
        if measured is None:
            return Verdict(text, None, False if self.of in results.failed else None, against)
        is_met: bool | None = (
            measured >= self.target if self.at_least else measured <= self.target
        ) and self.of not in results.failed
        return Verdict(text, measured, None if is_met and not is_complete else is_met, against)

    def _alone(self, results: Results) -> float | None:
        values = (
            results.late_ms.get(self.of, [])
            if self.member == LATE
            else results.values_of(self.of, self.member)
        )
        return self.statistic(values) if values else None

    def _compared(self, results: Results) -> tuple[float | None, str, bool]:
        """Against the hardest of the peers, who that is, and whether all of them were here."""
        measured: dict[str, float] = {}
        missing, late = [], []
        ours = results.by_round(self.of, self.member)
        for name in self.peers:
            if max(results.late_ms.get(name, ()), default=0) > self.peers_late_ms_max:
                late.append(name)
                continue
            theirs = results.by_round(name, self.member)
            # Round by round: what disturbs a round disturbs all of it.
            pairs = [(ours[turn], theirs[turn]) for turn in ours if theirs.get(turn)]
            if pairs:
                compared = [a - b if self.is_difference else a / b for a, b in pairs]
                measured[name] = self.statistic(compared)
            else:
                missing.append(name)
        left_out = f"; left out, its loop was late: {', '.join(late)}" if late else ""
        if not measured:
            return None, f"{', '.join(self.peers)}{left_out}", False
        hardest = (min if self.at_least else max)(measured, key=measured.__getitem__)
        without = f"; without {', '.join(missing)}" if missing else ""
        return measured[hardest], f"{hardest}{without}{left_out}", not missing


def p99(values: list[float]) -> float:
    return percentile(values, 99)


def loop_goals() -> tuple[Goal, ...]:
    """The promise that holds in every contest: the event loop stays free."""
    return (
        Goal("loop lag p99, ms", LATE, 5, at_least=False, statistic=p99),
        Goal("loop lag max, ms", LATE, 20, at_least=False, statistic=max),
    )


@dataclass(frozen=True)
class Contest:
    """The same work, done by several, in turns."""

    name: str
    title: str
    contenders: tuple[Contender, ...]
    columns: tuple[Column, ...]
    goals: tuple[Goal, ...]
    setup: Setup = field(default=lambda _: contextlib.nullcontext({}))
    rounds: int = 5
    is_quick: bool = True
    axis: str = ""  # what grows from one contender to the next
    within: tuple[str, ...] = ()  # the command that measurements are run by

    def quick(self) -> Contest:
        """With those who take part in the quick run."""
        quick = tuple(contender for contender in self.contenders if contender.is_quick)
        return dataclasses.replace(self, contenders=quick)

    def hold(self, workshop: Workshop, rounds: int, say: Callable[[str], None]) -> Results:
        """All rounds: A, B, C, then B, C, A."""
        results = Results()
        taking_part = []
        for contender in self.contenders:
            if missing := contender.missing():
                results.absent[contender.name] = f"not installed: {missing}"
            else:
                taking_part.append(contender)
        try:
            with self.setup(workshop) as shared:
                results.about |= shared.pop(ABOUT, {})
                for turn in range(rounds):
                    first = turn % max(1, len(taking_part))
                    for contender in (*taking_part[first:], *taking_part[:first]):
                        say(f"{self.name}: round {turn + 1} of {rounds}: {contender.name}")
                        self._one(contender, turn, workshop, shared, results)
        except NotHereError as error:
            results.absent.update(
                dict.fromkeys((one.name for one in taking_part), f"skipped: {error}")
            )
        return results

    def _one(
        self,
        contender: Contender,
        turn: int,
        workshop: Workshop,
        shared: Arguments,
        results: Results,
    ) -> None:
        folder = workshop.fresh()
        arguments = {**shared, **contender.arguments, "folder": folder}
        try:
            sample = measure(contender.target, arguments, self.within)
        except ChildFailedError as error:
            results.absent[contender.name] = f"failed: {error}"
            results.failed.add(contender.name)
        else:
            sample[ROUND] = turn
            results.late_ms.setdefault(contender.name, []).extend(sample.pop("late_ms", []))
            results.setdefault(contender.name, []).append(sample)
        shutil.rmtree(folder, ignore_errors=True)  # somebody may still be dying in it
        time.sleep(0.1)  # what the last one left behind settles


def _is_here(need: str) -> bool:
    if need.startswith("$"):
        return programs.find(need[1:]) is not None
    return importlib.util.find_spec(need) is not None
