"""A plot for each table, drawn from the saved results: SVG and PNG.

One picture serves light and dark pages: the background is transparent, and its greys and its two
colours have enough contrast on white and on black.
"""

from __future__ import annotations

import json
import statistics
from pathlib import Path
from typing import Any

import matplotlib as mpl
from matplotlib.figure import Figure

from outhaul_bench.contest import OURS

INK, OTHERS, ACCENT, SPREAD = "#808890", "#9aa5b1", "#e4572e", "#5b6570"
_STYLE = {
    "svg.hashsalt": "outhaul",  # the same figures make the same file
    "svg.fonttype": "none",
    "font.size": 9,
    "text.color": INK,
    "axes.labelcolor": INK,
    "xtick.color": INK,
    "ytick.color": INK,
    "axes.edgecolor": INK,
}


def draw_all(folder: Path) -> list[Path]:
    """Draws every `<folder>/<contest>.json` into `<folder>/plots/`; returns what was written."""
    plots = folder / "plots"
    plots.mkdir(exist_ok=True)
    written = []
    for path in sorted(folder.glob("*.json")):
        document = json.loads(path.read_text(encoding="utf-8"))
        with mpl.rc_context(_STYLE):
            figure = draw(document)
            for kind, about in (("svg", {"Date": None}), ("png", {"Software": None})):
                target = plots / f"{path.stem}.{kind}"
                figure.savefig(target, transparent=True, dpi=144, metadata=about)
                written.append(target)
    return written


def draw(document: dict[str, Any]) -> Figure:
    """Curves where something grows, else bars."""
    return _curves(document) if document.get("axis") else _bars(document)


def _curves(document: dict[str, Any]) -> Figure:
    """Every column over what grows, both by powers of ten: what is straight grows as it should."""
    columns = document["columns"]
    figure = Figure(figsize=(2.6 * len(columns), 2.6), layout="constrained")
    for number, (member, title, _) in enumerate(columns, 1):
        axes = figure.add_subplot(1, len(columns), number)
        points = sorted(
            (at, [sample[member] for sample in document["samples"].get(name, [])])
            for name, at in document["at"].items()
        )
        drawn = [(max(at, 1), values) for at, values in points if values]
        places = [at for at, _ in drawn]
        axes.fill_between(
            places, [min(v) for _, v in drawn], [max(v) for _, v in drawn], color=ACCENT, alpha=0.25
        )
        medians = [statistics.median(values) for _, values in drawn]
        axes.plot(places, medians, color=ACCENT, marker="o", markersize=3, linewidth=1.2)
        axes.set_xscale("log")
        axes.set_yscale("log")
        axes.set_title(title, loc="left", fontsize=9, color=INK)
        axes.set_xlabel(document["axis"], fontsize=8)
        axes.spines[["top", "right"]].set_visible(False)
        axes.grid(visible=True, color=INK, alpha=0.2, linewidth=0.5)
    figure.suptitle(document["title"], fontsize=10, color=INK, x=0.01, ha="left")
    return figure


def _bars(document: dict[str, Any]) -> Figure:
    """The first column of a table as bars, the best on top, with the range of the rounds."""
    member, title, digits = document["columns"][0]
    rows = {
        name: [sample[member] for sample in samples if member in sample]
        for name, samples in document["samples"].items()
    }
    medians = {name: statistics.median(values) for name, values in rows.items() if values}
    is_rate = "/s" in title
    names = sorted(medians, key=medians.__getitem__, reverse=not is_rate)
    figure = Figure(figsize=(7.2, 1.1 + 0.3 * len(names)), layout="constrained")
    axes = figure.add_subplot()
    colors = [ACCENT if name.startswith(OURS) else OTHERS for name in names]
    axes.barh(names, [medians[name] for name in names], color=colors, height=0.62)
    for at, name in enumerate(names):
        low, high = min(rows[name]), max(rows[name])
        axes.plot([low, high], [at, at], color=SPREAD, linewidth=1)
        axes.annotate(
            f" {medians[name]:,.{digits}f}", (high, at), va="center", color=INK, fontsize=8
        )
    axes.spines[["top", "right", "left"]].set_visible(False)
    axes.tick_params(axis="y", length=0)
    axes.margins(x=0.12)
    axes.set_xlim(left=0)
    axes.set_xlabel(f"{title}{'' if is_rate else ', less is better'}")
    axes.set_title(document["title"], loc="left", fontsize=10, color=INK)
    figure.supxlabel(_caption(document["about"]), fontsize=6.5, color=INK, x=0.01, ha="left")
    return figure


def _caption(about: dict[str, Any]) -> str:
    cores, kernel = about["cores"], about["kernel"]
    return (
        f"median and range of the rounds · {about['cpu']}, {cores} cores · Linux {kernel} · "
        f"{about['congestion_control']} · {about['date'][:10]}"
    )
