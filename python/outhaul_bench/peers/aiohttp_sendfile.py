"""aiohttp's form with the file left to `loop.sendfile`, which aiofastnet's transports can do.

uvloop's own cannot, and neither can TLS without the kernel's help.
"""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import BinaryIO, Never

import aiohttp
from aiohttp.abc import AbstractStreamWriter
from aiohttp.payload import Payload

from outhaul_bench.peers import in_loop
from outhaul_bench.peers.aiohttp_client import session_for


class _Sent(Payload):
    """An open file that the kernel sends from the page cache."""

    def __init__(self, file: BinaryIO, size: int) -> None:
        super().__init__(file, content_type="application/octet-stream")
        self._size = size

    def decode(self, encoding: str = "utf-8", errors: str = "strict") -> Never:
        raise NotImplementedError

    async def write(self, writer: AbstractStreamWriter) -> None:
        writer.send_headers()
        loop = asyncio.get_running_loop()
        assert writer.transport is not None
        if self._size:
            await loop.sendfile(writer.transport, self._value, 0, self._size, fallback=False)


async def _send(session: aiohttp.ClientSession, url: str, path: Path) -> int:
    with path.open("rb") as file:
        form = aiohttp.FormData()
        form.add_field("file", _Sent(file, path.stat().st_size), filename=path.name)
        async with session.post(url, data=form) as answer:
            await answer.read()
            return answer.status


upload = in_loop.uploader(session_for, _send)
