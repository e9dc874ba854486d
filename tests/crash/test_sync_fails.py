"""A sync that fails: its tasks are refused, all others are there, and the store goes on."""

from __future__ import annotations

import random
import subprocess
import sys
from pathlib import Path

import pytest
from tests.crash.power import Machine
from tests.crash.processes import ROOT
from tests.crash.stored import assert_sound, copy_of, task_ids

COUNT = 30


@pytest.mark.timeout(60)
@pytest.mark.parametrize("broken_at", [20, 25, 31])
def test_what_was_refused_is_refused_and_what_was_accepted_survives(
    tmp_path: Path, broken_at: int
) -> None:
    machine = Machine(tmp_path)
    command = (sys.executable, "-m", "tests.crash.enqueuer", str(machine.store), str(COUNT))
    env = {"PATH": "/usr/bin:/bin", "PYTHONPATH": f"{ROOT / 'python'}:{ROOT}"}
    done = subprocess.run(
        command,
        cwd=ROOT,
        env=env | machine.env(broken_at=broken_at),
        check=True,
        capture_output=True,
        text=True,
    )
    lines = [line.split() for line in done.stdout.splitlines()]
    assert len(lines) == COUNT
    accepted = {line[1] for line in lines if line[0] == "ack"}
    refused = [line for line in lines if line[0] == "refused"]
    assert len(refused) == 1
    assert refused[0][2] == "STORE_UNAVAILABLE"
    assert lines[-1][0] == "ack"  # it went on
    machine.cut(random.Random(broken_at), spared=0.0)
    copy = copy_of(machine.store, tmp_path / "copies")
    assert_sound(copy)
    assert accepted <= set(task_ids(copy))
