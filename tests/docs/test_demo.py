"""The demonstration runs, and ends well."""

from __future__ import annotations

import subprocess
import sys

import pytest
from tests.crash.processes import ROOT


@pytest.mark.timeout(60)
def test_the_small_demonstration_kills_a_process_and_loses_nothing() -> None:
    command = [sys.executable, "-m", "demo.run", "--small"]
    ran = subprocess.run(command, cwd=ROOT, check=False, capture_output=True, text=True, timeout=50)
    said = ran.stdout + ran.stderr
    assert ran.returncode == 0, said
    assert "kill -9 after" in said
    assert "process killed: once" in said
    assert said.rstrip().endswith("Every file arrived, whole, once.")
