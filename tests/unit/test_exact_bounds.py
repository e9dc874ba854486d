"""What is just as large as it may be is taken; what is one byte larger is not."""

from __future__ import annotations

from pathlib import Path

import pytest

from outhaul import PythonWorker, Secret
from outhaul.errors import InvalidArgumentError, SecretUnavailableError
from outhaul.secrets import resolve

INPUT_BYTES_MAX = 1024 * 1024
SECRET_BYTES_MAX = 64 * 1024


def test_an_input_is_taken_up_to_its_bound() -> None:
    head_bytes = 5  # SOURCE: MessagePack, bin 32
    largest = bytes(INPUT_BYTES_MAX - head_bytes)
    assert len(PythonWorker("x", largest).wire.input) == INPUT_BYTES_MAX
    with pytest.raises(InvalidArgumentError, match=f"takes {INPUT_BYTES_MAX + 1} bytes"):
        PythonWorker("x", largest + b"x")


async def test_a_secret_s_file_is_read_up_to_its_bound(tmp_path: Path) -> None:
    path = tmp_path / "token"
    path.write_bytes(b"x" * SECRET_BYTES_MAX)
    assert await resolve(Secret.file(path), environ={}, providers={}) == "x" * SECRET_BYTES_MAX
    path.write_bytes(b"x" * (SECRET_BYTES_MAX + 1))
    with pytest.raises(SecretUnavailableError, match=f"longer than {SECRET_BYTES_MAX} bytes"):
        await resolve(Secret.file(path), environ={}, providers={})
