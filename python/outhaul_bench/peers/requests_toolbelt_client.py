"""requests with the toolbelt's `MultipartEncoder`: requests alone reads the whole file first."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from pathlib import Path

import requests
from requests.adapters import HTTPAdapter
from requests_toolbelt import MultipartEncoder

from outhaul_bench.peers import in_loop, in_thread


@contextlib.contextmanager
def _session(ca_file: str) -> Iterator[in_thread.Send]:
    with requests.Session() as session:
        session.trust_env = False  # it would ask the environment for certificates
        session.verify = ca_file or True
        for scheme in ("http://", "https://"):
            session.mount(scheme, HTTPAdapter(pool_maxsize=in_loop.CONCURRENCY))

        def send(url: str, path: Path) -> int:
            with path.open("rb") as file:
                body = MultipartEncoder({"file": (path.name, file, "application/octet-stream")})
                headers = {"Content-Type": body.content_type}
                return session.post(url, data=body, headers=headers).status_code

        yield send


upload = in_thread.uploader(_session)
