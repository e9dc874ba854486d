"""niquests with a body in pieces of 1 MiB: its own `files=` reads the whole file first."""

from __future__ import annotations

import contextlib
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import niquests

from outhaul_bench.peers import in_loop, in_thread
from outhaul_bench.peers.bodies import CONTENT_TYPE, Body


@contextlib.asynccontextmanager
async def _session(ca_file: str) -> AsyncIterator[niquests.AsyncSession]:
    async with niquests.AsyncSession(pool_maxsize=in_loop.CONCURRENCY) as session:
        session.trust_env = False  # it would ask the environment for certificates
        session.verify = ca_file or True
        yield session


async def _send(session: niquests.AsyncSession, url: str, path: Path) -> int | None:
    headers = {"Content-Type": CONTENT_TYPE}
    return (await session.post(url, data=_pieces(path), headers=headers)).status_code


async def _pieces(path: Path) -> AsyncIterator[bytes]:
    for piece in Body(path):
        yield piece


@contextlib.contextmanager
def _blocking(ca_file: str) -> Iterator[in_thread.Send]:
    with niquests.Session(pool_maxsize=in_loop.CONCURRENCY) as session:
        session.trust_env = False
        session.verify = ca_file or True

        def send(url: str, path: Path) -> int | None:
            body = Body(path)
            return session.post(url, data=body, headers=body.headers()).status_code

        yield send


upload = in_loop.uploader(_session, _send)
upload_sync = in_thread.uploader(_blocking)
