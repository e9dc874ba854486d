"""Runs the benchmarks: `outhaul bench [NAME …] [--full] [--rounds N] [--congestion cubic]`."""

from __future__ import annotations

import argparse
import contextlib
import importlib.util
import signal
import sys
import tempfile
import time
from pathlib import Path
from typing import TYPE_CHECKING

from rich.console import Console

from outhaul_bench import report
from outhaul_bench.contest import OURS, Workshop
from outhaul_bench.contests import contests

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from outhaul_bench.contest import Verdict


@contextlib.contextmanager
def congestion(wanted: str | None) -> Iterator[None]:
    """Sets the system's congestion control (as root), and puts it back."""
    if wanted is None:
        yield
        return
    before = report.CONGESTION.read_text(encoding="ascii")
    report.CONGESTION.write_text(wanted, encoding="ascii")
    try:
        yield
    finally:
        report.CONGESTION.write_text(before, encoding="ascii")


def arguments(given: Sequence[str]) -> argparse.Namespace:
    """What was asked for; ends the program where that is nothing we have."""
    parser = argparse.ArgumentParser(
        prog="outhaul bench", description="outhaul beside what you would pick instead, in one run"
    )
    names = [contest.name for contest in contests()]
    parser.add_argument("names", nargs="*", metavar="NAME", help=f"of {', '.join(names)}")
    parser.add_argument("--full", action="store_true", help="every peer and contest")
    parser.add_argument("--rounds", type=int, help="instead of each contest's own number")
    parser.add_argument("--tiny", action="store_true", help="seconds in all, figures worthless")
    parser.add_argument("--congestion", help="set tcp_congestion_control for the run (root)")
    parser.add_argument("--dir", help="where stores and files go: a real disk, 5 GB free")
    parser.add_argument("--out", type=Path, default=Path("outhaul-bench"), help="for the results")
    found = parser.parse_args(given)
    for name in found.names:
        if not any(known.startswith(name) for known in names):
            parser.error(f"no benchmark is called {name}: choose one of {', '.join(names)}")
    return found


@contextlib.contextmanager
def _ended_in_order() -> Iterator[None]:
    """A closed terminal, or who ends us, has put back what was set, and nobody measures on."""

    def end(number: int, _: object) -> None:
        raise SystemExit(128 + number)

    endings = (signal.SIGTERM, signal.SIGHUP)
    before = [signal.signal(number, end) for number in endings]
    try:
        yield
    finally:
        for number, handler in zip(endings, before, strict=True):
            signal.signal(number, handler)


def main(given: Sequence[str] | None = None) -> int:
    """Holds the contests that were asked for; says and keeps what came of them."""
    found = arguments(sys.argv[1:] if given is None else given)
    console = Console()
    console.width = max(console.width, 120)
    chosen = [
        contest if found.full else contest.quick()
        for contest in contests(tiny=found.tiny)
        if contest.name.startswith(tuple(found.names))
        or (not found.names and (found.full or contest.is_quick))
    ]
    began = time.monotonic()
    judged: dict[str, list[Verdict]] = {}
    late_ms: list[float] = []
    with (
        _ended_in_order(),
        congestion(found.congestion),
        tempfile.TemporaryDirectory(dir=found.dir) as folder,
    ):
        workshop = Workshop(Path(folder))
        about = report.provenance(workshop.folder)
        console.print(" · ".join(f"{key} {about[key]}" for key in
            ("commit", "cpu", "cores", "kernel", "congestion_control", "file_system")))  # fmt: skip
        if about["file_system"] == "tmpfs":
            console.print("This is memory, where durability costs nothing: name a disk with --dir.")
        for contest in chosen:
            with console.status(contest.name) as status:
                results = contest.hold(workshop, found.rounds or contest.rounds, status.update)
            verdicts = [goal.judge(results) for goal in contest.goals]
            if not found.tiny:
                report.save(found.out, contest, results, verdicts, about)
            report.show(console, contest, results, verdicts)
            judged[contest.name] = verdicts
            late_ms += results.late_ms.get(OURS, [])
    report.summary(console, judged, late_ms)
    if not found.tiny and importlib.util.find_spec("matplotlib"):
        from outhaul_bench import plot  # noqa: PLC0415 — where it can be had

        console.print(f"{len(plot.draw_all(found.out))} plots in {found.out / 'plots'}")
    console.print(f"{time.monotonic() - began:.0f} s")
    return 0


if __name__ == "__main__":
    sys.exit(main())
