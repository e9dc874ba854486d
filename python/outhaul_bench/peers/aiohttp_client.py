"""aiohttp's own client: one session and `FormData`, as its documentation shows, with an open file.

Or with the file's bytes, as one would give it a small one; or with pieces of 1 MiB, as a stream.
"""

from __future__ import annotations

import asyncio
import ssl
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import aiohttp

from outhaul_bench.measure import MIB
from outhaul_bench.peers import in_loop


def session_for(ca_file: str) -> aiohttp.ClientSession:
    context = ssl.create_default_context(cafile=ca_file) if ca_file else True
    connector = aiohttp.TCPConnector(limit=in_loop.CONCURRENCY, ssl=context)
    return aiohttp.ClientSession(
        connector=connector, timeout=aiohttp.ClientTimeout(total=None, sock_connect=10)
    )


async def _post(session: aiohttp.ClientSession, url: str, path: Path, content: Any) -> int:
    form = aiohttp.FormData()
    form.add_field("file", content, filename=path.name, content_type="application/octet-stream")
    async with session.post(url, data=form) as answer:
        await answer.read()
        return answer.status


async def _send(session: aiohttp.ClientSession, url: str, path: Path) -> int:
    with path.open("rb") as file:
        return await _post(session, url, path, file)


async def _send_bytes(session: aiohttp.ClientSession, url: str, path: Path) -> int:
    return await _post(session, url, path, path.read_bytes())


async def _send_pieces(session: aiohttp.ClientSession, url: str, path: Path) -> int:
    return await _post(session, url, path, _pieces_of(path))


async def _pieces_of(path: Path) -> AsyncIterator[bytes]:
    loop = asyncio.get_running_loop()
    with path.open("rb", buffering=0) as file:
        while piece := await loop.run_in_executor(None, file.read, MIB):
            yield piece


upload = in_loop.uploader(session_for, _send)
upload_bytes = in_loop.uploader(session_for, _send_bytes)
upload_pieces = in_loop.uploader(session_for, _send_pieces)
