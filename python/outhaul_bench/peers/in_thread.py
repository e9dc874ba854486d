"""How an async service uses a client that blocks: in threads, while its loop goes on."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import AbstractContextManager, asynccontextmanager
from pathlib import Path

from outhaul_bench.peers import in_loop

Send = Callable[[str, Path], int]
Call = Callable[[str, Path], asyncio.Future[int]]


def uploader(open_client: Callable[[str], AbstractContextManager[Send]]) -> in_loop.Upload:
    """What a contender names.

    Args:
        open_client: Makes a client that trusts this certificate ("" is none), as a function that
            uploads one file to a URL and returns the status of the answer. Threads share it.
    """

    @asynccontextmanager
    async def threads(ca_file: str) -> AsyncIterator[Call]:
        loop = asyncio.get_running_loop()
        with open_client(ca_file) as send, ThreadPoolExecutor(in_loop.CONCURRENCY) as pool:
            yield lambda url, path: loop.run_in_executor(pool, send, url, path)

    return in_loop.uploader(threads, lambda call, url, path: call(url, path))
