"""urllib3 with a body in pieces of 1 MiB: its own `fields=` reads the whole file first."""

from __future__ import annotations

import contextlib
import importlib.metadata
from collections.abc import Iterator
from pathlib import Path

import urllib3

from outhaul_bench.peers import in_loop, in_thread
from outhaul_bench.peers.bodies import Body


@contextlib.contextmanager
def _pool(ca_file: str) -> Iterator[in_thread.Send]:
    assert urllib3.__version__ == importlib.metadata.version("urllib3"), "another took its name"
    with urllib3.PoolManager(ca_certs=ca_file or None, maxsize=in_loop.CONCURRENCY) as pool:

        def send(url: str, path: Path) -> int:
            body = Body(path)
            return pool.request("POST", url, body=body, headers=body.headers()).status

        yield send


upload = in_thread.uploader(_pool)
