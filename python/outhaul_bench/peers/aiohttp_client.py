"""aiohttp's own client, as its documentation shows: one session, `FormData` with an open file."""

from __future__ import annotations

import asyncio
import ssl
from pathlib import Path
from typing import Any

import aiohttp

from outhaul_bench.measure import LagTicker, Usage, paths_in

CONCURRENCY = 32


def session_for(ca_file: str) -> aiohttp.ClientSession:
    context = ssl.create_default_context(cafile=ca_file) if ca_file else True
    connector = aiohttp.TCPConnector(limit=CONCURRENCY, ssl=context)
    return aiohttp.ClientSession(
        connector=connector, timeout=aiohttp.ClientTimeout(total=None, sock_connect=10)
    )


async def _send(session: aiohttp.ClientSession, url: str, path: Path) -> None:
    with path.open("rb") as file:
        form = aiohttp.FormData()
        form.add_field("file", file, filename=path.name, content_type="application/octet-stream")
        async with session.post(url, data=form) as answer:
            assert answer.status == 200
            await answer.read()


async def upload(url: str, files: str, ca_file: str, folder: str) -> dict[str, Any]:  # noqa: ARG001 — it stores nothing
    path = paths_in(files)[0]
    async with session_for(ca_file) as session, LagTicker() as lag:
        with Usage() as usage:
            await _send(session, url, path)
    size = path.stat().st_size
    return {"mb_s": size / usage.wall_s / 1e6, **usage.report(), **lag.report()}


async def upload_many(url: str, files: str, ca_file: str, folder: str) -> dict[str, Any]:  # noqa: ARG001 — it stores nothing
    """Workers that share one iterator: cheaper than a task and a semaphore for each file."""
    paths = paths_in(files)
    queue = iter(paths)

    async def work(session: aiohttp.ClientSession) -> None:
        for path in queue:
            await _send(session, url, path)

    async with session_for(ca_file) as session, LagTicker() as lag:
        with Usage() as usage:
            await asyncio.gather(*(work(session) for _ in range(CONCURRENCY)))
    size = sum(path.stat().st_size for path in paths)
    speed = {"files_s": len(paths) / usage.wall_s, "mb_s": size / usage.wall_s / 1e6}
    return {**speed, **usage.report(), **lag.report()}
