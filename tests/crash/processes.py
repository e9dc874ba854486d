"""Processes of ours that tests start, listen to and kill."""

from __future__ import annotations

import asyncio
import os
import signal
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Self

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Mapping

ROOT = Path(__file__).parents[2]

# What is ours is loaded before: it may lie where root alone may read.
_AS_NOBODY = """
import asyncio, os, sys, outhaul
if os.getuid() == 0:
    os.setgroups([])
    os.setgid(65534)
    os.setuid(65534)
"""


def said_by_nobody(program: str, *arguments: str) -> str:
    """What a program prints that is not run by root."""
    command = [sys.executable, "-c", _AS_NOBODY + program, *arguments]
    env = os.environ | {"PYTHONPATH": str(ROOT / "python")}
    return subprocess.run(command, check=True, capture_output=True, text=True, env=env).stdout


class Child:
    """A Python process that speaks in lines. Killed, if need be, when the block is left."""

    def __init__(self, module: str, *arguments: str, env: Mapping[str, str] | None = None) -> None:
        self._command: tuple[str, ...] = (sys.executable, "-m", module, *arguments)
        paths = os.pathsep.join((str(ROOT / "python"), str(ROOT)))
        self._env = os.environ | {"PYTHONPATH": paths} | dict(env or {})

    async def __aenter__(self) -> Self:
        self._process = await asyncio.create_subprocess_exec(
            *self._command,
            cwd=ROOT,
            env=self._env,
            stdin=asyncio.subprocess.PIPE,
            stdout=asyncio.subprocess.PIPE,
        )
        return self

    async def __aexit__(self, *_: object) -> None:
        self.kill()
        async for _line in self.raw_lines():
            pass
        assert self._process.stdin is not None
        self._process.stdin.close()
        await self._process.wait()

    @property
    def pid(self) -> int:
        return self._process.pid

    @property
    def returncode(self) -> int | None:
        return self._process.returncode

    def kill(self, number: int = signal.SIGKILL) -> None:
        if self._process.returncode is None:
            self._process.send_signal(number)

    async def wait(self) -> int:
        return await self._process.wait()

    async def raw_lines(self) -> AsyncIterator[bytes]:
        """What it says until it ends: also what it said before it was killed."""
        assert self._process.stdout is not None
        async for line in self._process.stdout:
            if line.endswith(b"\n"):
                yield line

    async def lines(self) -> AsyncIterator[list[str]]:
        """The same, word by word."""
        async for line in self.raw_lines():
            yield line.decode().split()

    async def say(self, line: str) -> None:
        assert self._process.stdin is not None
        self._process.stdin.write(line.encode() + b"\n")
        await self._process.stdin.drain()
