"""How a client that awaits is measured: one session, and workers that share the files.

Workers that share one iterator are cheaper than a task and a semaphore for each file.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from contextlib import AbstractAsyncContextManager
from pathlib import Path
from typing import Any, TypeVar

from outhaul_bench import sink
from outhaul_bench.measure import LagTicker, Usage, first_file, paths_in

CONCURRENCY = 32

Client = TypeVar("Client")
Upload = Callable[[str, str, str, str], Awaitable[dict[str, Any]]]


def uploader(
    open_client: Callable[[str], AbstractAsyncContextManager[Client]],
    send: Callable[[Client, str, Path], Awaitable[int]],
) -> Upload:
    """What a contender names.

    Args:
        open_client: Makes a client that trusts this certificate; "" is none.
        send: Uploads one file to a URL; returns the status of the answer.
    """

    async def upload(url: str, files: str, ca_file: str, folder: str) -> dict[str, Any]:
        paths = paths_in(files)
        queue = iter(paths)

        async def work(client: Client) -> None:
            for path in queue:
                status = await send(client, url, path)
                assert status == 200, status

        workers = min(CONCURRENCY, len(paths))
        async with open_client(ca_file) as client:
            await send(client, url, first_file(folder))
            with sink.receiving(paths, url, ca_file):
                async with LagTicker() as lag:
                    with Usage() as usage:
                        await asyncio.gather(*(work(client) for _ in range(workers)))
        return {**usage.sent(paths), **lag.report()}

    return upload
