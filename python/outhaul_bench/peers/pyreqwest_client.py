"""pyreqwest (reqwest from Python), with its own form and the file's path."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any

from pyreqwest.client import Client, ClientBuilder
from pyreqwest.multipart import FormBuilder

from outhaul_bench.measure import LagTicker, Usage, paths_in
from outhaul_bench.peers.aiohttp_client import CONCURRENCY


def _client(ca_file: str) -> ClientBuilder:
    builder = ClientBuilder().http1_only()
    if ca_file:
        builder = builder.add_root_certificate_pem(Path(ca_file).read_bytes())
    return builder


async def _send(client: Client, url: str, path: Path) -> None:
    form = await FormBuilder().file("file", path)
    answer = await client.post(url).multipart(form).build().send()
    assert answer.status == 200


async def upload(url: str, files: str, ca_file: str, folder: str) -> dict[str, Any]:  # noqa: ARG001 — it stores nothing
    path = paths_in(files)[0]
    async with _client(ca_file).build() as client, LagTicker() as lag:
        with Usage() as usage:
            await _send(client, url, path)
    return {"mb_s": path.stat().st_size / usage.wall_s / 1e6, **usage.report(), **lag.report()}


async def upload_many(url: str, files: str, ca_file: str, folder: str) -> dict[str, Any]:  # noqa: ARG001 — it stores nothing
    """Workers that share one iterator, as aiohttp's."""
    paths = paths_in(files)
    queue = iter(paths)

    async def work(client: Client) -> None:
        for path in queue:
            await _send(client, url, path)

    async with _client(ca_file).build() as client, LagTicker() as lag:
        with Usage() as usage:
            await asyncio.gather(*(work(client) for _ in range(CONCURRENCY)))
    size = sum(path.stat().st_size for path in paths)
    speed = {"files_s": len(paths) / usage.wall_s, "mb_s": size / usage.wall_s / 1e6}
    return {**speed, **usage.report(), **lag.report()}
