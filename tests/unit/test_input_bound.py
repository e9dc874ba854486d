"""What is just as large as it may be is taken; what is one byte larger is not."""

from __future__ import annotations

import pytest

from outhaul import PythonWorker
from outhaul.errors import InvalidArgumentError

INPUT_BYTES_MAX = 1024 * 1024


def test_an_input_is_taken_up_to_its_bound() -> None:
    head_bytes = 5  # SOURCE: MessagePack, bin 32
    largest = bytes(INPUT_BYTES_MAX - head_bytes)
    assert len(PythonWorker("x", largest).wire.input) == INPUT_BYTES_MAX
    with pytest.raises(InvalidArgumentError, match=f"takes {INPUT_BYTES_MAX + 1} bytes"):
        PythonWorker("x", largest + b"x")
