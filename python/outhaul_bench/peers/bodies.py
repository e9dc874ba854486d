"""A multipart body in pieces of 1 MiB, for clients that make none or read the whole file first."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from outhaul_bench.measure import MIB

BOUNDARY = b"a-boundary-of-its-own"
CONTENT_TYPE = f"multipart/form-data; boundary={BOUNDARY.decode()}"


def pieces_of(path: Path) -> Iterator[bytes]:
    """The file alone."""
    with path.open("rb", buffering=0) as file:
        while piece := file.read(MIB):
            yield piece


class Body:
    """Iterable, and of a known length: clients send it as it is, with a Content-Length."""

    def __init__(self, path: Path) -> None:
        said = f'form-data; name="file"; filename="{path.name}"'
        self.before = (
            b"--%s\r\nContent-Disposition: %s\r\nContent-Type: application/octet-stream\r\n\r\n"
        ) % (BOUNDARY, said.encode())
        self.after = b"\r\n--%s--\r\n" % BOUNDARY
        self._path = path

    def __len__(self) -> int:
        return len(self.before) + self._path.stat().st_size + len(self.after)

    def __iter__(self) -> Iterator[bytes]:
        yield self.before
        yield from pieces_of(self._path)
        yield self.after

    def headers(self) -> dict[str, str]:
        """Its length and its type."""
        return {"Content-Length": str(len(self)), "Content-Type": CONTENT_TYPE}
