"""`serve` in the process of the test: told to end by a signal, as a process would be."""

from __future__ import annotations

import asyncio
import contextlib
import signal
from collections.abc import AsyncIterator
from pathlib import Path

import aiohttp
from tests.service.kit import LOOPBACK

from outhaul import WorkManager
from outhaul.service.serve import Address, serve


class Serving:
    """A service that listens.

    Attributes:
        manager: What does its work.
        said: What it has told a person.
    """

    def __init__(self, manager: WorkManager) -> None:
        self.manager = manager
        self.said: asyncio.Queue[str] = asyncio.Queue()
        self.port = 0
        self.task: asyncio.Task[None] | None = None

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    def tell(self, number: signal.Signals = signal.SIGTERM) -> None:
        signal.raise_signal(number)

    async def ended(self) -> None:
        assert self.task is not None
        async with asyncio.timeout(5):
            await self.task


@contextlib.asynccontextmanager
async def serving(manager: WorkManager, *, token: str | None = None) -> AsyncIterator[Serving]:
    """Serves until it was told to end, which it is at the latest here."""
    served = Serving(manager)
    work = serve(
        manager,
        Address.parse("127.0.0.1:0"),
        token=token,
        allow_secrets=(),
        drain_timeout=20,
        say=served.said.put_nowait,
    )
    served.task = asyncio.create_task(work)
    async with asyncio.timeout(5):
        served.port = int((await served.said.get()).rpartition(":")[2])
    try:
        yield served
    finally:
        if not served.task.done():
            served.tell()
        await served.ended()


def a_manager(db: Path, root: Path) -> WorkManager:
    return WorkManager(db, allowed_roots=[root], address_policy=LOOPBACK, durability="os")


async def status_of(url: str, path: str, headers: dict[str, str]) -> int:
    async with (
        aiohttp.ClientSession(url) as session,
        session.get(path, headers=headers) as answer,
    ):
        return answer.status
