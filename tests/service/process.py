"""`outhaul serve` as a process, and the command line against it."""

from __future__ import annotations

import asyncio
import os
import re
import signal
import sys
from pathlib import Path
from typing import Self

NO_PROXY = {key: value for key, value in os.environ.items() if "proxy" not in key.lower()}


async def command(*words: str, cwd: Path) -> tuple[int | None, str, str]:
    """Runs `outhaul` to its end: status, standard output, standard error."""
    process = await _begin(*words, cwd=cwd)
    out, err = await asyncio.wait_for(process.communicate(), 20)
    return process.returncode, out.decode(), err.decode()


async def _begin(*words: str, cwd: Path) -> asyncio.subprocess.Process:
    return await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "outhaul.cli", *words),
        cwd=cwd,
        env=NO_PROXY,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
    )


class Serve:
    """A service in a process of its own, over `work.db` and the root `root` in a folder.

    Attributes:
        port: Where it listens; the same when it is started again.
    """

    def __init__(self, folder: Path, *options: str) -> None:
        self.folder = folder
        self.port = 0
        self._options = options
        self.process: asyncio.subprocess.Process | None = None

    async def __aenter__(self) -> Self:
        await self.start()
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.kill()

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    async def start(self) -> None:
        listen = ("--listen", f"127.0.0.1:{self.port}")
        words = ("--db", "work.db", "serve", "--root", "root", *listen, *self._options)
        self.process = await _begin(*words, cwd=self.folder)
        self.port = int(re.fullmatch(r".*listening on http://.*:(\d+)", await self.line())[1])  # type: ignore[index] # fails the test, with the line

    async def line(self) -> str:
        """What it says next."""
        assert self.process is not None
        assert self.process.stderr is not None
        async with asyncio.timeout(10):
            return (await self.process.stderr.readline()).decode().rstrip("\n")

    def signal(self, number: signal.Signals) -> None:
        assert self.process is not None
        self.process.send_signal(number)

    async def ended(self) -> int:
        assert self.process is not None
        async with asyncio.timeout(10):
            return await self.process.wait()

    async def kill(self) -> None:
        if self.process is not None and self.process.returncode is None:
            self.process.kill()
            await self.process.communicate()
