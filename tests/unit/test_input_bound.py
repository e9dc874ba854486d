"""What is just as large as it may be is taken; what is one byte larger is not."""

from __future__ import annotations

from pathlib import Path

import pytest

from outhaul import PythonWorker, WorkManager
from outhaul.errors import InvalidArgumentError

INPUT_BYTES_MAX = 1024 * 1024 - 16 * 1024


def test_an_input_is_taken_up_to_its_bound() -> None:
    head_bytes = 5  # SOURCE: MessagePack, bin 32
    largest = bytes(INPUT_BYTES_MAX - head_bytes)
    assert len(PythonWorker("x", largest).wire.input) == INPUT_BYTES_MAX
    with pytest.raises(InvalidArgumentError, match=f"takes {INPUT_BYTES_MAX + 1} bytes"):
        PythonWorker("x", largest + b"x")


async def test_the_largest_input_fits_whatever_else_its_task_says(tmp_path: Path) -> None:
    """The core bounds the whole task: names take at most 512 bytes each."""
    name, head_bytes = "n" * 512, 5
    worker = PythonWorker(name, bytes(INPUT_BYTES_MAX - head_bytes))
    async with WorkManager(tmp_path / "w.db", workers="elsewhere") as manager:
        task = await manager.enqueue("i" * 512, worker, tag="t" * 512, priority=-(2**31))
    assert task.schedule_result == "accepted"
