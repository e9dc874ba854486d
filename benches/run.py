"""Runs the benchmarks: `python -m benches.run [NAME …] [--rounds N] [--congestion cubic]`."""

from __future__ import annotations

import argparse
import contextlib
import sys
import tempfile
import time
from pathlib import Path
from typing import TYPE_CHECKING

from benches import memory, payload, queue, report, service, startup, uploads
from benches.contest import OURS, Workshop
from rich.console import Console

if TYPE_CHECKING:
    from collections.abc import Iterator

    from benches.contest import Contest, Verdict


def contests(*, tiny: bool = False) -> list[Contest]:
    """All of them, in the order of the README's table."""
    return [
        contest
        for module in (uploads, payload, queue, service, memory, startup)
        for contest in module.contests(tiny=tiny)
    ]


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


def arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m benches.run", description=__doc__)
    names = [contest.name for contest in contests()]
    parser.add_argument("names", nargs="*", metavar="NAME", help=f"of {', '.join(names)}")
    parser.add_argument("--rounds", type=int, help="instead of each contest's own number")
    parser.add_argument("--tiny", action="store_true", help="seconds in all, figures worthless")
    parser.add_argument("--congestion", help="set tcp_congestion_control for the run (root)")
    parser.add_argument("--dir", help="where stores and files go: a real disk, 3 GB free")
    given = parser.parse_args()
    for name in given.names:
        if not any(known.startswith(name) for known in names):
            parser.error(f"no benchmark is called {name}: choose of {', '.join(names)}")
    return given


def main() -> int:
    given = arguments()
    console = Console()
    console.width = max(console.width, 120)
    chosen = [
        contest
        for contest in contests(tiny=given.tiny)
        if not given.names or contest.name.startswith(tuple(given.names))
    ]
    began = time.monotonic()
    judged: dict[str, list[Verdict]] = {}
    late_ms: list[float] = []
    with congestion(given.congestion), tempfile.TemporaryDirectory(dir=given.dir) as folder:
        workshop = Workshop(Path(folder))
        about = report.provenance(workshop.folder)
        console.print(" · ".join(f"{key} {about[key]}" for key in
            ("commit", "cpu", "cores", "kernel", "congestion_control", "file_system")))  # fmt: skip
        for contest in chosen:
            with console.status(contest.name) as status:
                results = contest.hold(workshop, given.rounds or contest.rounds, status.update)
            verdicts = [goal.judge(results) for goal in contest.goals]
            report.show(console, contest, results, verdicts)
            if not given.tiny:
                report.save(contest, results, verdicts, about)
            judged[contest.name] = verdicts
            late_ms += results.late_ms.get(OURS, [])
    report.summary(console, judged, late_ms)
    console.print(f"{time.monotonic() - began:.0f} s")
    return 0


if __name__ == "__main__":
    sys.exit(main())
