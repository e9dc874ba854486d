"""How an async service uses a client that blocks: in a thread, while its loop goes on."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from outhaul_bench.measure import MIB, LagTicker, Usage, paths_in

BOUNDARY = b"a-boundary-of-its-own"


async def upload(send: Callable[[Path], int], files: str) -> dict[str, Any]:
    """`send` uploads one file and returns the status of the answer."""
    path = paths_in(files)[0]
    async with LagTicker() as lag:
        with Usage() as usage:
            status = await asyncio.to_thread(send, path)
        assert status == 200, status
    return {"mb_s": path.stat().st_size / usage.wall_s / 1e6, **usage.report(), **lag.report()}


def framed(path: Path) -> tuple[bytes, bytes]:
    """What stands before and after the file in a multipart body, for clients that make none."""
    disposition = f'form-data; name="file"; filename="{path.name}"'
    before = b"--%s\r\nContent-Disposition: %s\r\nContent-Type: application/octet-stream\r\n\r\n"
    return before % (BOUNDARY, disposition.encode()), b"\r\n--%s--\r\n" % BOUNDARY


def pieces(path: Path) -> Iterator[bytes]:
    """The body in pieces of 1 MiB."""
    before, after = framed(path)
    yield before
    with path.open("rb", buffering=0) as file:
        while piece := file.read(MIB):
            yield piece
    yield after


def headers(path: Path) -> dict[str, str]:
    """The length and the type of such a body."""
    length = path.stat().st_size + sum(map(len, framed(path)))
    kind = f"multipart/form-data; boundary={BOUNDARY.decode()}"
    return {"Content-Length": str(length), "Content-Type": kind}
