"""P7: memory depends neither on the size of a file nor, by much, on how many tasks wait."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from tests.http.conftest import Made

HERE = Path(__file__).parent
ROOT = HERE.parent.parent

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="reads /proc/self/status")


def in_child(which: str, *arguments: object) -> dict[str, float]:
    child = subprocess.run(
        [sys.executable, "-m", "tests.promises.children", which, *map(str, arguments)],
        cwd=ROOT,
        env=os.environ | {"PYTHONPATH": os.pathsep.join([str(ROOT), *sys.path])},
        stdout=subprocess.PIPE,
        check=True,
    )
    measured: dict[str, float] = json.loads(child.stdout)
    return measured


@pytest.fixture
def sink() -> Iterator[str]:
    """The address of a server in a process of its own."""
    with subprocess.Popen([sys.executable, HERE / "sink.py"], stdout=subprocess.PIPE) as child:
        assert child.stdout is not None
        yield f"http://127.0.0.1:{int(child.stdout.readline())}/"
        child.kill()


def test_a_large_file_takes_no_more_memory_than_a_small_one(
    tmp_path: Path, make: Made, sink: str
) -> None:
    small, large = make(1_000_000, "small"), make(256 * 1024 * 1024, "large")
    measured = in_child("upload", tmp_path / "child.db", small, large, sink)
    assert measured["grown_kb"] <= 16 * 1024


@pytest.mark.timeout(60)
def test_a_task_that_waits_costs_a_few_hundred_bytes(tmp_path: Path, make: Made) -> None:
    url = "http://127.0.0.1:9/"
    measured = in_child("pending", tmp_path / "child.db", make(), 100_000, url)
    assert measured["bytes_per_task"] < 400
