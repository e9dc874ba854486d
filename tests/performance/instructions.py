"""Counts instructions of the core's operations under callgrind: seconds are too noisy to guard.

`make instructions` writes what it finds to `benches/instructions.json`, which is committed.
"""

from __future__ import annotations

import json
import os
import re
import subprocess
from pathlib import Path
from typing import Any, Final

ROOT: Final = Path(__file__).resolve().parents[2]
BASELINE: Final = ROOT / "benches" / "instructions.json"
PROGRAM: Final = ROOT / "target" / "release" / "outhaul-instructions"

# glibc copies memory by other instructions on another processor: here by those that all have.
PLAIN: Final = {"GLIBC_TUNABLES": "glibc.cpu.hwcaps=-AVX512F,-AVX512VL,-AVX2,-ERMS,-FSRM"}

# How often each is done: enough that what happens seldom (a table that grows) has its share.
OPERATIONS: Final = {
    "delay_push_pop": 20_000,
    "delay_cancel": 20_000,
    "schedule_take": 20_000,
    "engine_task": 5_000,
    "store_enqueue": 30,
    "store_task": 30,
    "spec_read": 5_000,
    "multipart_plan": 2_000,
    "multipart_read": 20_000,
    "progress_sent": 50_000,
}


def build() -> None:
    """Builds the program; cargo does nothing where it is up to date."""
    command = ["cargo", "build", "--release", "--quiet", "--package", "outhaul-instructions"]
    subprocess.run(command, cwd=ROOT, check=True)


def compiler() -> str:
    """What the counts depend on beside the sources."""
    said = subprocess.run(["rustc", "--version", "--verbose"], capture_output=True, check=True)
    lines = dict(line.split(": ", 1) for line in said.stdout.decode().splitlines() if ": " in line)
    return f"rustc {lines['release']} for {lines['host']}, LLVM {lines['LLVM version']}"


def count(operation: str) -> float:
    """Instructions of one operation: what doing it many times adds to doing it never."""
    times = OPERATIONS[operation]
    return (_collected(operation, times) - _collected(operation, 0)) / times


def _collected(operation: str, times: int) -> int:
    command = ["valgrind", "--tool=callgrind", "--callgrind-out-file=/dev/null"]
    done = subprocess.run(
        [*command, str(PROGRAM), operation, str(times)],
        env={**os.environ, **PLAIN},
        capture_output=True,
        text=True,
        check=False,
    )
    found = re.search(r"Collected : (\d+)", done.stderr)
    assert done.returncode == 0, done.stderr
    assert found, done.stderr
    return int(found[1])


def baseline() -> dict[str, Any]:
    """What was committed."""
    found: dict[str, Any] = json.loads(BASELINE.read_text(encoding="ascii"))
    return found


def main() -> None:
    build()
    counts = {operation: round(count(operation), 1) for operation in OPERATIONS}
    document = {"compiler": compiler(), "instructions": counts}
    BASELINE.write_text(json.dumps(document, indent=1) + "\n", encoding="ascii")


if __name__ == "__main__":
    main()
