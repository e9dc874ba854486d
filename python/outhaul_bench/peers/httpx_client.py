"""httpx as its documentation shows: a client, `files=` with an open file."""

from __future__ import annotations

import contextlib
import ssl
from collections.abc import Iterator
from pathlib import Path

import httpx

from outhaul_bench.peers import in_loop, in_thread

_LIMITS = httpx.Limits(
    max_connections=in_loop.CONCURRENCY, max_keepalive_connections=in_loop.CONCURRENCY
)


def _verify(ca_file: str) -> ssl.SSLContext | bool:
    return ssl.create_default_context(cafile=ca_file) if ca_file else True


def _client(ca_file: str) -> httpx.AsyncClient:
    return httpx.AsyncClient(verify=_verify(ca_file), timeout=None, limits=_LIMITS)


async def _send(client: httpx.AsyncClient, url: str, path: Path) -> int:
    with path.open("rb") as file:
        return (await client.post(url, files={"file": (path.name, file)})).status_code


@contextlib.contextmanager
def _blocking(ca_file: str) -> Iterator[in_thread.Send]:
    with httpx.Client(verify=_verify(ca_file), timeout=None, limits=_LIMITS) as client:

        def send(url: str, path: Path) -> int:
            with path.open("rb") as file:
                return client.post(url, files={"file": (path.name, file)}).status_code

        yield send


upload = in_loop.uploader(_client, _send)
upload_sync = in_thread.uploader(_blocking)
