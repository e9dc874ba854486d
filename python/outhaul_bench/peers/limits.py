"""What no client can beat without another kernel: a thread, a socket, and nothing else."""

from __future__ import annotations

import os
import socket
import ssl
from collections.abc import Callable
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from outhaul_bench.measure import MIB
from outhaul_bench.peers import in_thread


async def read_write(url: str, files: str, ca_file: str, folder: str) -> dict[str, Any]:  # noqa: ARG001 — it stores nothing
    """Each byte is copied out of the page cache and into the socket, or encrypted, by 1 MiB."""

    def body(connection: socket.socket, path: Path) -> None:
        buffer = memoryview(bytearray(MIB))
        with path.open("rb", buffering=0) as file:
            while count := file.readinto(buffer):
                connection.sendall(buffer[:count])

    return await _upload(url, files, ca_file, body)


async def sendfile(url: str, files: str, ca_file: str, folder: str) -> dict[str, Any]:  # noqa: ARG001 — it stores nothing
    """The kernel takes the pages as they are: only without TLS."""

    def body(connection: socket.socket, path: Path) -> None:
        size = path.stat().st_size
        with path.open("rb", buffering=0) as file:
            sent = 0
            while sent < size:
                sent += os.sendfile(connection.fileno(), file.fileno(), sent, 8 * MIB)

    return await _upload(url, files, ca_file, body)


async def _upload(
    url: str, files: str, ca_file: str, body: Callable[[socket.socket, Path], None]
) -> dict[str, Any]:
    parts = urlsplit(url)
    assert parts.hostname
    assert parts.port
    address = (parts.hostname, parts.port)

    def send(path: Path) -> int:
        before, after = in_thread.framed(path)
        said = "".join(f"{name}: {value}\r\n" for name, value in in_thread.headers(path).items())
        with socket.create_connection(address) as plain:
            connection = _encrypted(plain, ca_file) if ca_file else plain
            connection.sendall(f"POST / HTTP/1.1\r\nHost: x\r\n{said}\r\n".encode() + before)
            body(connection, path)
            connection.sendall(after)
            return int(connection.recv(4096).split(b" ")[1])

    return await in_thread.upload(send, files)


def _encrypted(plain: socket.socket, ca_file: str) -> ssl.SSLSocket:
    context = ssl.create_default_context(cafile=ca_file)
    return context.wrap_socket(plain, server_hostname="127.0.0.1")
