"""An upload server that keeps everybody waiting until it is told otherwise."""

from __future__ import annotations

import asyncio
import re
from typing import Self

CHUNK_BYTES = 256 * 1024
ANSWER = "HTTP/1.1 {} Told\r\nContent-Length: 0\r\nConnection: close\r\n\r\n"


class HeldServer:
    """Takes each body at a slow pace, and answers it once it is released.

    Attributes:
        requests: How many have begun.
        statuses: What the first answers are; after them, 200.
        keys: Their idempotency keys.
        arrived: A request has begun.
        gone: A client went away before it was answered.
        answered: The last body was answered.
    """

    def __init__(self) -> None:
        self.requests = 0
        self.statuses: list[int] = []
        self.keys: list[str] = []
        self.arrived, self.gone = asyncio.Event(), asyncio.Event()
        self.release, self.answered = asyncio.Event(), asyncio.Event()

    async def __aenter__(self) -> Self:
        self._tasks: set[asyncio.Task[None]] = set()
        self._server = await asyncio.start_server(
            self._connected, "127.0.0.1", 0, limit=CHUNK_BYTES
        )
        self.url = f"http://127.0.0.1:{self._server.sockets[0].getsockname()[1]}/upload"
        return self

    async def __aexit__(self, *_: object) -> None:
        self._server.close()
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    def _connected(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.create_task(self._serve(reader, writer))
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            head = await reader.readuntil(b"\r\n\r\n")
            self.requests += 1
            self.keys += re.findall(rb"(?i)idempotency-key: ([^\r]+)", head)[0].decode().split()
            self.arrived.set()
            left = int(re.findall(rb"(?i)content-length: (\d+)", head)[0])
            while left:
                left -= len(await reader.readexactly(min(left, CHUNK_BYTES)))
                if not self.release.is_set():
                    await asyncio.sleep(0.005)  # the pace: 50 MB/s
            await self._answer(reader, writer)
        except (OSError, EOFError):
            self.gone.set()
        finally:
            writer.close()

    async def _answer(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        released = asyncio.create_task(self.release.wait())
        gone = asyncio.create_task(reader.read(1))
        await asyncio.wait({released, gone}, return_when=asyncio.FIRST_COMPLETED)
        ended = gone.done()
        released.cancel()
        gone.cancel()
        if ended:
            raise EOFError
        status = self.statuses.pop(0) if self.statuses else 200
        writer.write(ANSWER.format(status).encode())
        await writer.drain()
        self.answered.set()
