"""What the tests of `MultipartPayload` share: requests, a server with a gate, cold files."""

from __future__ import annotations

import asyncio
import contextlib
import hashlib
import threading
from pathlib import Path
from typing import Any

import aiohttp
from tests.http.peers import RawServer, answer, head_of, length_of, request_of

from outhaul._native import MultipartEncoder
from outhaul.aiohttp import FilePart, MultipartPayload

BIG = 32 * 1024 * 1024


def sha256(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()


def one_file(path: Path, **options: Any) -> MultipartPayload:  # noqa: ANN401 — passed on
    return MultipartPayload([FilePart("file", path)], **options)


async def post(session: aiohttp.ClientSession, url: str, body: MultipartPayload) -> int:
    async with session.post(url, data=body) as response:
        await response.read()
        return response.status


class Gate(RawServer):
    """Reads a little, waits until the test has done its deed, then takes whatever comes.

    Attributes:
        got: What came after each head, until the client ended it or the body was whole.
        ended: Whether the client ended the first connection.
    """

    def __init__(self, *, says: bytes = b"") -> None:
        super().__init__(self._read)
        self.reached, self.go_on, self.ended = asyncio.Event(), asyncio.Event(), asyncio.Event()
        self.says = says
        self.expected, self.got = 0, 0
        self.digest = hashlib.sha256()

    async def _read(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        if self.connections > 1:
            await request_of(reader)
            writer.write(answer())
            await reader.read()
            return
        self.expected = length_of(await head_of(reader))
        writer.write(self.says)
        self.take(await reader.readexactly(100_000))
        self.reached.set()
        await self.go_on.wait()
        with contextlib.suppress(ConnectionError):
            while chunk := await reader.read(1 << 20):
                self.take(chunk)
                if self.got == self.expected:
                    writer.write(answer())
        self.ended.set()

    def take(self, chunk: bytes) -> None:
        self.got += len(chunk)
        self.digest.update(chunk)


class Cold:
    """An encoder whose files are never in the page cache; notes who reads them."""

    made: list[Cold]

    def __init__(self, *parts: Any, **options: Any) -> None:  # noqa: ANN401 — passed on
        self._encoder = MultipartEncoder(*parts, **options)
        self.content_length = self._encoder.content_length
        self.content_type = self._encoder.content_type
        self.readers: list[int] = []
        self.made.append(self)

    def read_at_nowait(self, offset: int, size: int) -> None:
        assert offset < self.content_length
        assert size > 0

    def read_at(self, offset: int, size: int) -> bytes:
        self.readers.append(threading.get_ident())
        return self._encoder.read_at(offset, size)
