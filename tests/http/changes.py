"""What may happen to a file between its enqueue and its last byte, in the tests of P5."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path

Change = Callable[[Path], None]


def grow(path: Path) -> None:
    with path.open("ab") as file:
        file.write(b"more")


def shrink(path: Path) -> None:
    os.truncate(path, path.stat().st_size - 1)


def empty(path: Path) -> None:
    os.truncate(path, 0)


def rewrite(path: Path) -> None:
    with path.open("r+b") as file:
        file.write(b"other")


def delete(path: Path) -> None:
    path.unlink()
