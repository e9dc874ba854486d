"""Tables for people, JSON for programs, and where the figures come from."""

from __future__ import annotations

import datetime as dt
import importlib.metadata
import importlib.util
import json
import os
import platform
import ssl
import statistics
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

from rich.console import Console
from rich.table import Table

from outhaul_bench import programs
from outhaul_bench.measure import percentile

if TYPE_CHECKING:
    from outhaul_bench.contest import Contest, Results, Verdict

CONGESTION = Path("/proc/sys/net/ipv4/tcp_congestion_control")
_PACKAGES = ("aiohttp", "uvloop", "msgspec", "outhaul", "redis", "hiredis")
_PROGRAMS = {"curl": "--version", "redis-server": "--version", "postgres": "--version"}


def provenance(folder: Path) -> dict[str, Any]:
    """What has to be known to believe, or to repeat, a figure."""
    return {
        "date": dt.datetime.now(dt.UTC).isoformat(timespec="seconds"),
        "commit": _commit(),
        "extension": _extension(),
        "cpu": _cpu(),
        "cores": os.cpu_count() if sys.platform == "darwin" else len(os.sched_getaffinity(0)),
        "load_at_start": [round(load, 2) for load in os.getloadavg()],
        "kernel": platform.release(),
        "congestion_control": _read(CONGESTION),
        "file_system": _file_system(folder),
        "python": platform.python_version(),
        "openssl": ssl.OPENSSL_VERSION,
        "sqlite_of_python": __import__("sqlite3").sqlite_version,
        "sqlite_settings": "synchronous=FULL for outhaul (fdatasync) and all but flexiq's SQLite",
        "packages": {name: _version(name) for name in _PACKAGES},
        "programs": {
            name: _said(path, flag).split("\n")[0]
            for name, flag in _PROGRAMS.items()
            if (path := programs.find(name))
        },
    }


def save(
    folder: Path,
    contest: Contest,
    results: Results,
    verdicts: list[Verdict],
    about: dict[str, Any],
) -> None:
    """`<folder>/<name>.json`: every sample, so that any other statistic can be made."""
    folder.mkdir(exist_ok=True, parents=True)
    document = {
        "name": contest.name,
        "title": contest.title,
        "loop_lag_ms": {name: _quantiles(late) for name, late in results.late_ms.items() if late},
        "goals": [verdict._asdict() for verdict in verdicts],
        "axis": contest.axis,
        "at": {one.name: one.at for one in contest.contenders if one.at is not None},
        "columns": [list(column) for column in contest.columns],
        "samples": results,
        "absent": results.absent,
        "about": {**about, **results.about, "peers": _peers(contest)},
    }
    path = folder / f"{contest.name}.json"
    path.write_text(json.dumps(document, indent=1) + "\n", encoding="utf-8")


def _peers(contest: Contest) -> dict[str, str]:
    """The versions of what the contenders need."""
    needs = {need for one in contest.contenders for need in one.needs if need[0] != "$"}
    names = importlib.metadata.packages_distributions()
    return {need: _version(names[need][0]) for need in sorted(needs) if need in names}


def show(console: Console, contest: Contest, results: Results, verdicts: list[Verdict]) -> None:
    """The contenders, medians with the spread, and under them the goals."""
    table = Table(
        title=contest.title, title_justify="left", title_style="bold", caption_justify="left"
    )
    table.add_column("")
    for column in contest.columns:
        table.add_column(column.title, justify="right")
    for contender in contest.contenders:
        name = contender.name
        if name in results:
            table.add_row(name, *(_cell(results, name, *column) for column in contest.columns))
        if name in results.absent:
            reason = results.absent[name].strip().splitlines()
            table.add_row(name, reason[0] if len(reason) == 1 else f"{reason[0]} … {reason[-1]}")
    console.print(table)
    goals = Table(box=None, show_header=False, padding=(0, 2))
    for verdict in verdicts:
        goals.add_row(*_line(verdict))
    console.print(goals)
    console.print()


def summary(console: Console, verdicts: dict[str, list[Verdict]], late_ms: list[float]) -> None:
    """Every goal in one table, and the event loop over everything."""
    table = Table(title="Goals", title_justify="left", title_style="bold")
    for title in ("", "goal", "measured", ""):
        table.add_column(title)
    for name, judged in verdicts.items():
        for verdict in judged:
            table.add_row(name, *_line(verdict))
    if late_ms:
        lag = _quantiles(late_ms)
        table.add_row(
            "all",
            "loop lag p99 <= 5, max <= 20 ms",
            f"{lag['p99']:.1f}, {lag['max']:.1f}",
            _word(is_met=lag["p99"] <= 5 and lag["max"] <= 20),
        )
    console.print(table)


def _quantiles(late_ms: list[float]) -> dict[str, float]:
    return {
        "p50": percentile(late_ms, 50),
        "p99": percentile(late_ms, 99),
        "max": max(late_ms, default=0.0),
    }


def _word(*, is_met: bool | None) -> str:
    if is_met is None:
        return "[yellow]ok against those installed[/]"
    return "[green]ok[/]" if is_met else "[red]miss[/]"


def _line(verdict: Verdict) -> tuple[str, str, str]:
    against = (
        f" {verdict.against}" if verdict.against and verdict.against not in verdict.goal else ""
    )
    if verdict.measured is None:
        return (verdict.goal, "-", f"[dim]not measured[/]{against}")
    return (verdict.goal, f"{verdict.measured:,.2f}{against}", _word(is_met=verdict.is_met))


def _cell(results: Results, name: str, member: str, title: str, digits: int) -> str:  # noqa: ARG001 — a column's three
    values = results.values_of(name, member)
    if not values:
        return "-"
    median, low, high = statistics.median(values), min(values), max(values)
    if len(values) == 1:
        return f"{median:,.{digits}f}"
    return f"{median:,.{digits}f} [dim]{low:,.{digits}f} … {high:,.{digits}f}[/]"


def _said(*command: str) -> str:
    try:
        return subprocess.run(command, capture_output=True, text=True, check=False).stdout.strip()
    except OSError:
        return ""


def _read(path: Path) -> str:
    try:
        return path.read_text(encoding="ascii").strip()
    except OSError:
        return "unknown"


def _version(package: str) -> str:
    try:
        return importlib.metadata.version(package)
    except importlib.metadata.PackageNotFoundError:
        return "not installed"


def _cpu() -> str:
    for line in _read(Path("/proc/cpuinfo")).splitlines():
        if line.startswith("model name"):
            return line.partition(":")[2].strip()
    return platform.processor() or platform.machine()


def _extension() -> str:
    """Its size tells a release build (stripped) from a debug build."""
    found = importlib.util.find_spec("outhaul")
    assert found is not None
    assert found.origin is not None
    there = sorted(Path(found.origin).parent.glob("_core*.so"))
    return ", ".join(f"{path.name} {path.stat().st_size:,} bytes" for path in there)


def _commit() -> str:
    """Of the checkout that this is part of; nothing where it was installed."""
    root = Path(__file__).resolve().parents[2]
    if not (root / "benches").is_dir():
        return ""
    return _said("git", "-C", str(root), "describe", "--always", "--dirty")


def _file_system(folder: Path) -> str:
    """An fsync on a tmpfs costs nothing and proves nothing."""
    best = ("", "unknown")
    for line in _read(Path("/proc/mounts")).splitlines():
        if len(parts := line.split()) < 3:
            continue
        mount, kind = parts[1:3]
        if folder.resolve().is_relative_to(mount) and len(mount) >= len(best[0]):
            best = (mount, kind)
    return best[1]
