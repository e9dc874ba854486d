"""urllib3 with a body in pieces of 1 MiB: its own `fields=` reads the whole file first."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import urllib3

from outhaul_bench.peers import in_thread


async def upload(url: str, files: str, ca_file: str, folder: str) -> dict[str, Any]:  # noqa: ARG001 — it stores nothing
    with urllib3.PoolManager(ca_certs=ca_file or None) as pool:

        def send(path: Path) -> int:
            body, headers = in_thread.pieces(path), in_thread.headers(path)
            return pool.request("POST", url, body=body, headers=headers).status

        return await in_thread.upload(send, files)
