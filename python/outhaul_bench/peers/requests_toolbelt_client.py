"""requests with the toolbelt's `MultipartEncoder`: requests alone reads the whole file first."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import requests
from requests_toolbelt import MultipartEncoder

from outhaul_bench.peers import in_thread


async def upload(url: str, files: str, ca_file: str, folder: str) -> dict[str, Any]:  # noqa: ARG001 — it stores nothing
    with requests.Session() as session:
        session.trust_env = False  # it would ask the environment for certificates
        session.verify = ca_file or True

        def send(path: Path) -> int:
            with path.open("rb") as file:
                body = MultipartEncoder({"file": (path.name, file, "application/octet-stream")})
                headers = {"Content-Type": body.content_type}
                return session.post(url, data=body, headers=headers).status_code

        return await in_thread.upload(send, files)
