"""What is uploaded: real files of all sizes, with names that are easy to get wrong."""

from __future__ import annotations

import hashlib
import random
from typing import TYPE_CHECKING, Final, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

# Names and bytes. A file's number is its place here, and the form says it, so that the server can
# tell files apart whatever a name goes through. The large one comes first: it is under way when the
# process is killed.
FILES: Final = (
    ("holiday video.mp4", 300_000_000),
    ("empty.log", 0),
    ("one byte.bin", 1),
    ("kilobyte.txt", 1024),
    ("photo 1.jpg", 14_500_000),
    ("raw photo.dng", 11_000_000),
    ('the "best" one.jpg', 18_000_000),
    ("it's mine.jpg", 9_400_000),
    ("Grüße aus Köln.jpg", 25_000_000),
    ("東京の写真.jpg", 16_500_000),
    ("semi;colon=100%.csv", 65_537),
    ("trailing backslash\\", 250_000),
)
LARGE: Final = 0

_BLOCK_BYTES: Final = 1 << 20
_COUNTER_BYTES: Final = 8


class Source(NamedTuple):
    """A file as it was made."""

    name: str
    size: int
    sha256: str


def sizes(divisor: int) -> list[int]:
    """The sizes of all files, those of the larger ones divided."""
    return [size // divisor if size > _BLOCK_BYTES else size for _, size in FILES]


def make(folder: Path, divisor: int) -> list[Source]:
    """Writes all files, of those sizes; the same bytes on every run."""
    planned = zip(FILES, sizes(divisor), strict=True)
    return [_make(folder / name, at, size) for at, ((name, _), size) in enumerate(planned)]


def _make(path: Path, number: int, size: int) -> Source:
    digest = hashlib.sha256()
    with path.open("wb") as file:
        for block in _blocks(number, size):
            digest.update(block)
            file.write(block)
    return Source(path.name, size, digest.hexdigest())


def _blocks(seed: int, size: int) -> Iterator[bytes]:
    """Random bytes, made quickly: one block over and over, each time with its number in front."""
    block = random.Random(seed).randbytes(min(size, _BLOCK_BYTES))
    for number, start in enumerate(range(0, size, _BLOCK_BYTES)):
        numbered = number.to_bytes(_COUNTER_BYTES) + block[_COUNTER_BYTES:]
        yield numbered[: size - start]
