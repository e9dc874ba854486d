"""How jobs say when they began: those of another process with a datagram each."""

from __future__ import annotations

import asyncio
import os
import socket
import struct
import time
from collections import deque
from pathlib import Path
from typing import Self

REPORTS = "BENCH_REPORTS"
_MOMENT = struct.Struct("d")
_TURN = 64


class Reports:
    """The reading end, on the event loop that is running."""

    def __init__(self, folder: str) -> None:
        self.count = 0
        self._moments: deque[float] = deque()
        self._came = asyncio.Event()
        self._loop = asyncio.get_running_loop()
        self._socket = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        self._socket.settimeout(0)
        self._path = str(Path(folder, "reports"))

    def __enter__(self) -> Self:
        global _here  # noqa: PLW0603 — for jobs that run in this process
        self._socket.bind(self._path)
        os.environ[REPORTS] = self._path
        self._loop.add_reader(self._socket.fileno(), self._read)
        _here = self
        return self

    def __exit__(self, *_: object) -> None:
        global _here  # noqa: PLW0603 — as above
        _here = None
        self._loop.remove_reader(self._socket.fileno())
        self._socket.close()

    async def until(self, count: int) -> None:
        """Until so many have come."""
        while self.count < count:
            self._came.clear()
            await self._came.wait()

    async def next(self) -> float:
        """`time.monotonic()` of the next that has not been asked for."""
        while not self._moments:
            self._came.clear()
            await self._came.wait()
        return self._moments.popleft()

    def forget(self) -> None:
        """What came so far does not count."""
        self.count = 0
        self._moments.clear()

    def take_soon(self, moment: float) -> None:
        """From any thread."""
        self._loop.call_soon_threadsafe(self._take, moment)

    def _take(self, moment: float) -> None:
        self._moments.append(moment)
        self.count += 1
        self._came.set()

    def _read(self) -> None:
        for _ in range(_TURN):
            try:
                data = self._socket.recv(_MOMENT.size)
            except BlockingIOError:
                break
            self._take(_MOMENT.unpack(data)[0])


_here: Reports | None = None
_sender: socket.socket | None = None


def report() -> None:
    """Called by a job. In another process it waits where the reader is behind."""
    global _sender  # noqa: PLW0603 — one connection for each process
    moment = time.monotonic()
    if _here is not None:
        _here.take_soon(moment)
        return
    if _sender is None:
        sender = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        sender.connect(os.environ[REPORTS])
        _sender = sender
    _sender.send(_MOMENT.pack(moment))
