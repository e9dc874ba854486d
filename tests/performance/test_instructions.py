"""No operation of the core becomes more than 5 % dearer, or cheaper, without anybody saying so."""

from __future__ import annotations

import shutil

import pytest
from tests.performance import instructions

TOLERANCE = 0.05


@pytest.fixture(scope="module")
def committed() -> dict[str, float]:
    if shutil.which("valgrind") is None:
        pytest.skip("valgrind is not installed")
    found = instructions.baseline()
    if found["compiler"] != instructions.compiler():
        pytest.skip(f"the counts are of {found['compiler']}, here is {instructions.compiler()}")
    instructions.build()
    counts: dict[str, float] = found["instructions"]
    return counts


@pytest.mark.timeout(600)  # the first one builds
@pytest.mark.parametrize("operation", instructions.OPERATIONS)
def test_an_operation_takes_as_many_instructions_as_before(
    committed: dict[str, float], operation: str
) -> None:
    before, now = committed[operation], instructions.count(operation)
    change = now / before - 1
    assert abs(change) <= TOLERANCE, (
        f"{operation}: {now:,.0f} instructions, {change:+.1%} against {before:,.0f}; if that is "
        "meant, run `make instructions` and commit what it writes"
    )
