"""A measurement that hangs takes nothing with it but its own figures."""

from __future__ import annotations

import subprocess
import sys
import time
from pathlib import Path

import pytest

from outhaul_bench import child
from outhaul_bench.child import ChildFailedError, measure


def hangs(path: str) -> None:
    """What is measured: it starts a server and is never done."""
    server = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(600)"])
    Path(path).write_text(str(server.pid), encoding="ascii")
    server.wait()


def _runs(pid: str) -> bool:
    try:
        status = Path("/proc", pid, "stat").read_text(encoding="ascii")
    except FileNotFoundError:
        return False
    return status.rpartition(")")[2].split()[0] != "Z"


@pytest.mark.timeout(60)
def test_what_hangs_is_ended_with_the_servers_it_started(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(child, "TIMEOUT_S", 3)
    monkeypatch.setenv("PYTHONPATH", str(Path(__file__).parents[1]))
    with pytest.raises(ChildFailedError, match="not done after 3 s"):
        measure("benches.bench_child:hangs", {"path": str(tmp_path / "pid")})
    pid = (tmp_path / "pid").read_text(encoding="ascii")
    until = time.monotonic() + 10
    while _runs(pid):
        assert time.monotonic() < until
        time.sleep(0.01)
