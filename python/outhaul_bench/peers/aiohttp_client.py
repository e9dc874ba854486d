"""aiohttp's own client, as its documentation shows: one session, `FormData` with an open file."""

from __future__ import annotations

import ssl
from pathlib import Path

import aiohttp

from outhaul_bench.peers import in_loop


def session_for(ca_file: str) -> aiohttp.ClientSession:
    context = ssl.create_default_context(cafile=ca_file) if ca_file else True
    connector = aiohttp.TCPConnector(limit=in_loop.CONCURRENCY, ssl=context)
    return aiohttp.ClientSession(
        connector=connector, timeout=aiohttp.ClientTimeout(total=None, sock_connect=10)
    )


async def _send(session: aiohttp.ClientSession, url: str, path: Path) -> int:
    with path.open("rb") as file:
        form = aiohttp.FormData()
        form.add_field("file", file, filename=path.name, content_type="application/octet-stream")
        async with session.post(url, data=form) as answer:
            await answer.read()
            return answer.status


upload = in_loop.uploader(session_for, _send)
