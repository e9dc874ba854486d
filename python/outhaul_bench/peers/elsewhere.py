"""Queues whose jobs a library runs in its own way, mostly in workers of another process.

A peer is a module with the members of `Peer`. It is imported when its server is there, here and in
its workers, and finds the address in the environment.
"""

from __future__ import annotations

import asyncio
import contextlib
import importlib
import os
import subprocess
import sys
import time
from collections.abc import AsyncIterator, Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import AbstractAsyncContextManager
from pathlib import Path
from typing import Any, Protocol, cast

from outhaul_bench import drive
from outhaul_bench.child import environment
from outhaul_bench.drive import Put
from outhaul_bench.peers.reports import Reports
from outhaul_bench.peers.servers import PLACE, SERVERS

_PATIENCE_S = 30.0
_SETTLES_S = 0.5
# Runs the program of a library that runs on asyncio's own loop by itself.
ON_UVLOOP = "outhaul_bench.peers.on_uvloop"


class Peer(Protocol):
    """What a module says of its library.

    Attributes:
        WORKER: The arguments of `python -m` for a worker; none where `putting` runs the jobs.
    """

    WORKER: tuple[str, ...]

    def putting(self, *, threads: int, runs: bool) -> AbstractAsyncContextManager[Put]:
        """A function that stores a job, from so many threads where it blocks.

        With `runs` its jobs run at once, else they wait.
        """

    async def stored(self) -> int:
        """How many jobs wait."""


class PutsMany(Peer, Protocol):
    """A library that stores many jobs with one call."""

    async def put_all(self, payloads: list[dict[str, Any]]) -> None:
        """Called inside `putting`. All are stored when it returns."""


@contextlib.contextmanager
def _at(folder: str, server: str, peer: str) -> Iterator[Peer]:
    with SERVERS[server](folder) as place:
        os.environ[PLACE] = place
        yield cast("Peer", importlib.import_module(f"outhaul_bench.peers.{peer}"))


@contextlib.contextmanager
def _worker(arguments: tuple[str, ...], log: Path) -> Iterator[None]:
    if not arguments:
        yield
        return
    with log.open("wb") as output:
        process = subprocess.Popen(
            [sys.executable, "-m", *arguments], env=environment(), stdout=output, stderr=output
        )
        try:
            yield
        finally:
            process.terminate()
            process.wait()


@contextlib.asynccontextmanager
async def _running(
    folder: str, server: str, peer: str, threads: int
) -> AsyncIterator[tuple[Put, Reports]]:
    with Reports(folder) as reports, _at(folder, server, peer) as library:
        async with library.putting(threads=threads, runs=True) as put:
            log = Path(folder, "worker.log")
            with _worker(library.WORKER, log):
                await _ready(put, reports, log)
                yield put, reports


async def _ready(put: Put, reports: Reports, log: Path) -> None:
    """Until a job has run. A first one can be lost: saq's workers take it for a stuck one."""
    until = time.monotonic() + _PATIENCE_S
    while not reports.count:
        assert time.monotonic() < until, log.read_text("utf-8") if log.exists() else "no job ran"
        await put(drive.PAYLOAD)
        with contextlib.suppress(TimeoutError):
            await asyncio.wait_for(reports.until(1), 2)
    await asyncio.sleep(_SETTLES_S)
    reports.forget()


@contextlib.asynccontextmanager
async def in_threads(threads: int, call: Callable[[dict[str, Any]], Any]) -> AsyncIterator[Put]:
    """How an async service uses a library that blocks."""
    loop = asyncio.get_running_loop()
    with ThreadPoolExecutor(threads) as pool:
        yield lambda payload: loop.run_in_executor(pool, call, payload)


async def enqueue(
    folder: str, server: str, peer: str, awaiters: int, seconds: float, threads: int = 1
) -> dict[str, Any]:
    with _at(folder, server, peer) as library:
        async with library.putting(threads=threads, runs=False) as put:
            figures = await drive.enqueue_for(put, awaiters, seconds)
            assert await library.stored() >= figures["count"]
    return figures


async def enqueue_all(
    folder: str, server: str, peer: str, batches: int, each: int, threads: int = 1
) -> dict[str, Any]:
    with _at(folder, server, peer) as library:
        many = cast("PutsMany", library)
        async with many.putting(threads=threads, runs=False):
            figures = await drive.enqueue_all(many.put_all, batches, each)
            assert await many.stored() >= batches * each
    return figures


async def finish(
    folder: str, server: str, peer: str, awaiters: int, count: int, threads: int = 1
) -> dict[str, Any]:
    """To the start of the last job: what comes after it, such as noting its end, is a gift."""
    async with _running(folder, server, peer, threads) as (put, reports):
        return await drive.finish(put, lambda: reports.until(count), awaiters, count)


async def dispatch(
    folder: str, server: str, peer: str, count: int, threads: int = 1
) -> dict[str, Any]:
    async with _running(folder, server, peer, threads) as (put, reports):

        async def put_and_start() -> float:
            before = time.monotonic()
            await put(drive.PAYLOAD)
            began = await reports.next()
            assert began >= before, "another job's beginning"
            return began

        return await drive.dispatch(put_and_start, count)
