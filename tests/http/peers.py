"""Peers that speak as a test says, and what every HTTP test asks of a task."""

from __future__ import annotations

import asyncio
import ssl
from collections.abc import Awaitable, Callable
from typing import Self

from outhaul import EventKind, TaskEvent, TaskHandle

Speak = Callable[[asyncio.StreamReader, asyncio.StreamWriter], Awaitable[None]]

ENDS_AN_ATTEMPT = (
    EventKind.RETRY_SCHEDULED,
    EventKind.COMPLETED,
    EventKind.FAILED,
    EventKind.CANCELLED,
    EventKind.INTERRUPTED,
)


class RawServer:
    """One coroutine for each connection, on loopback. What it leaves open is closed at the end.

    Attributes:
        connections: How many there were.
    """

    def __init__(self, speak: Speak, *, tls: ssl.SSLContext | None = None) -> None:
        self.connections = 0
        self._speak = speak
        self._tls = tls
        self._speaking: set[asyncio.Task[None]] = set()
        self._server: asyncio.Server | None = None
        self.port = 0

    @property
    def url(self) -> str:
        return f"{'http' if self._tls is None else 'https'}://127.0.0.1:{self.port}/upload"

    async def __aenter__(self) -> Self:
        self._server = await asyncio.start_server(self._met, "127.0.0.1", 0, ssl=self._tls)
        self.port = self._server.sockets[0].getsockname()[1]
        return self

    async def __aexit__(self, *_: object) -> None:
        assert self._server is not None
        self._server.close()
        for task in self._speaking:
            task.cancel()
        await asyncio.gather(*self._speaking, return_exceptions=True)

    async def _met(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        self._speaking.add(task)
        self.connections += 1
        try:
            await self._speak(reader, writer)
        except (OSError, asyncio.IncompleteReadError, asyncio.CancelledError):
            pass  # the client went away, or the test is over
        finally:
            self._speaking.discard(task)
            writer.transport.abort()


async def head_of(reader: asyncio.StreamReader) -> bytes:
    """The request up to its body."""
    return await reader.readuntil(b"\r\n\r\n")


def length_of(head: bytes) -> int:
    """The Content-Length of a request."""
    lines = [line.partition(b":") for line in head.lower().split(b"\r\n")]
    return next(int(value) for name, _, value in lines if name == b"content-length")


async def request_of(reader: asyncio.StreamReader) -> tuple[bytes, bytes]:
    """One whole request: its head and its body."""
    head = await head_of(reader)
    return head, await reader.readexactly(length_of(head))


def answer(status: str = "200 OK", body: bytes = b"", *headers: str) -> bytes:
    """One whole response."""
    lines = [f"HTTP/1.1 {status}", f"Content-Length: {len(body)}", *headers]
    return "".join(f"{line}\r\n" for line in [*lines, ""]).encode() + body


async def verdict(task: TaskHandle, *, attempt: int = 1) -> TaskEvent:
    """The event that says what an attempt led to."""
    async for event in task.events():
        if event.attempt == attempt and event.kind in ENDS_AN_ATTEMPT:
            return event
    raise AssertionError(f"attempt {attempt} never ended")
