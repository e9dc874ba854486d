"""httpx as its documentation shows: a client, `files=` with an open file."""

from __future__ import annotations

import ssl
from pathlib import Path
from typing import Any

import httpx

from outhaul_bench.measure import LagTicker, Usage, paths_in
from outhaul_bench.peers import in_thread


def _verify(ca_file: str) -> ssl.SSLContext | bool:
    return ssl.create_default_context(cafile=ca_file) if ca_file else True


async def upload(url: str, files: str, ca_file: str, folder: str) -> dict[str, Any]:  # noqa: ARG001 — it stores nothing
    path = paths_in(files)[0]
    async with (
        httpx.AsyncClient(verify=_verify(ca_file), timeout=None) as client,
        LagTicker() as lag,
    ):
        with Usage() as usage, path.open("rb") as file:
            answer = await client.post(url, files={"file": (path.name, file)})
        assert answer.status_code == 200
    return {"mb_s": path.stat().st_size / usage.wall_s / 1e6, **usage.report(), **lag.report()}


async def upload_sync(url: str, files: str, ca_file: str, folder: str) -> dict[str, Any]:  # noqa: ARG001 — it stores nothing
    with httpx.Client(verify=_verify(ca_file), timeout=None) as client:

        def send(path: Path) -> int:
            with path.open("rb") as file:
                return client.post(url, files={"file": (path.name, file)}).status_code

        return await in_thread.upload(send, files)
