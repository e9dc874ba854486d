"""primp, with its own form and the file's path."""

from __future__ import annotations

import contextlib
from collections.abc import AsyncIterator
from pathlib import Path

import primp

from outhaul_bench.peers import in_loop


@contextlib.asynccontextmanager
async def _client(ca_file: str) -> AsyncIterator[primp.AsyncClient]:
    yield primp.AsyncClient(ca_cert_file=ca_file or None, cookie_store=False)


async def _send(client: primp.AsyncClient, url: str, path: Path) -> int:
    return (await client.post(url, files={"file": str(path)})).status_code


upload = in_loop.uploader(_client, _send)
