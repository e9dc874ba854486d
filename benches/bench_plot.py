"""Every table has a plot, with everybody and every figure in it."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from outhaul_bench import plot

DOCUMENT: dict[str, Any] = {
    "title": "How fast they are",
    "columns": [["jobs_s", "jobs/s", 0], ["cpu_us", "CPU", 0]],
    "samples": {
        "outhaul": [
            {"jobs_s": 30_000, "cpu_us": 1},
            {"jobs_s": 34_567, "cpu_us": 2},
            {"jobs_s": 40_000, "cpu_us": 3},
        ],
        "a peer": [{"jobs_s": 1_234, "cpu_us": 4}],
        "silent": [],
    },
    "about": {
        "cpu": "a processor",
        "cores": 2,
        "kernel": "6",
        "congestion_control": "bbr",
        "date": "2026-11-27T10:00:00+00:00",
    },
}


def test_a_plot_names_everybody_and_says_the_medians(tmp_path: Path) -> None:
    (tmp_path / "rate.json").write_text(json.dumps(DOCUMENT))
    svg, png = plot.draw_all(tmp_path)
    drawn = svg.read_text()
    for text in ("How fast they are", "outhaul", "34,567", "a peer", "1,234", "a processor"):
        assert text in drawn, text
    assert "silent" not in drawn
    assert png.read_bytes().startswith(b"\x89PNG")


def test_the_same_figures_make_the_same_file(tmp_path: Path) -> None:
    (tmp_path / "rate.json").write_text(json.dumps(DOCUMENT))
    first = plot.draw_all(tmp_path)[0].read_bytes()
    assert plot.draw_all(tmp_path)[0].read_bytes() == first


def test_what_grows_is_drawn_as_curves(tmp_path: Path) -> None:
    points = {"axis": "tasks", "at": {"outhaul": 10, "a peer": 1000, "silent": 0}}
    (tmp_path / "growth.json").write_text(json.dumps(DOCUMENT | points))
    drawn = plot.draw_all(tmp_path)[0].read_text()
    for text in ("How fast they are", "tasks", "jobs/s", "CPU"):
        assert text in drawn, text
