"""What a callback returns: what is too large is refused before it is encoded."""

from __future__ import annotations

from typing import Any

import msgspec
import pytest

from outhaul import PermanentFailure, results
from outhaul.results import RESULT_BYTES_MAX, encoded

LARGE = 1024 * 1024
CYCLE: list[Any] = []
CYCLE.append(CYCLE)


@pytest.mark.parametrize(
    "answer",
    [
        pytest.param(bytes(LARGE), id="bytes"),
        pytest.param("x" * LARGE, id="a string"),
        pytest.param(memoryview(bytes(LARGE)), id="a view"),
        pytest.param([b"x" * 100] * 1000, id="many in a list"),
        pytest.param({"rows": ({"file": bytes(LARGE)},)}, id="deep inside"),
        pytest.param({"x" * LARGE: 1}, id="a key"),
        pytest.param([0] * LARGE, id="numbers"),
        pytest.param(CYCLE, id="one without an end"),
    ],
)
def test_a_result_that_is_surely_too_large_is_refused_unencoded(
    answer: object, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Encoding holds the interpreter: a gigabyte would hold up the event loop for seconds."""
    monkeypatch.setattr(results, "_encode", None)
    with pytest.raises(PermanentFailure, match="the result takes more than 65536 bytes"):
        encoded(answer)


@pytest.mark.parametrize(
    "answer",
    [
        pytest.param([[]] * (RESULT_BYTES_MAX - 5), id="empty lists"),
        pytest.param([""] * (RESULT_BYTES_MAX - 5), id="empty strings"),
        pytest.param([True] * (RESULT_BYTES_MAX - 3), id="booleans"),
        pytest.param({"a": 1, "b": [2, None, "three", b"4", (5.0,)]}, id="a few of each"),
        pytest.param({"x" * 250: "y" * 250}, id="a pair"),
        pytest.param({(1, 2): 3}, id="a key that is a tuple"),
    ],
)
def test_a_result_that_fits_is_never_taken_for_too_large(answer: object) -> None:
    assert encoded(answer) == msgspec.msgpack.encode(answer)


def test_raw_bytes_that_are_no_message_are_refused() -> None:
    assert encoded([msgspec.Raw(b"\x01")]) == b"\x91\x01"
    for wrong in (b"", b"\xc1", b"\x01\x02"):
        with pytest.raises(PermanentFailure, match="the result cannot be stored"):
            encoded(msgspec.Raw(wrong))


def test_of_several_failures_for_good_the_first_counts_however_deep_it_is() -> None:
    first, second = PermanentFailure("first"), PermanentFailure("second")
    inner = ExceptionGroup("inner", [ValueError(), first])
    assert results.permanent_failure(ExceptionGroup("all", [inner, second])) is first
    assert results.permanent_failure(ExceptionGroup("none", [ValueError()])) is None
