"""What one thread with a socket does, and nothing else: who reads while it writes can beat it."""

from __future__ import annotations

import contextlib
import functools
import os
import socket
import ssl
from collections.abc import Callable, Iterator
from pathlib import Path
from urllib.parse import urlsplit

from outhaul_bench.measure import MIB
from outhaul_bench.peers import in_thread
from outhaul_bench.peers.bodies import Body


def _copied(connection: socket.socket, path: Path) -> None:
    """Each byte is copied out of the page cache and into the socket, or encrypted, by 1 MiB."""
    buffer = memoryview(bytearray(MIB))
    with path.open("rb", buffering=0) as file:
        while count := file.readinto(buffer):
            connection.sendall(buffer[:count])


def _left_to_the_kernel(connection: socket.socket, path: Path) -> None:
    """The kernel takes the pages as they are: only without TLS."""
    size = path.stat().st_size
    with path.open("rb", buffering=0) as file:
        sent = 0
        while sent < size:
            sent += os.sendfile(connection.fileno(), file.fileno(), sent, 8 * MIB)


@contextlib.contextmanager
def _sockets(
    ca_file: str, *, write: Callable[[socket.socket, Path], None]
) -> Iterator[in_thread.Send]:
    context = ssl.create_default_context(cafile=ca_file) if ca_file else None

    def send(url: str, path: Path) -> int:
        parts, body = urlsplit(url), Body(path)
        assert parts.hostname
        assert parts.port
        said = "".join(f"{name}: {value}\r\n" for name, value in body.headers().items())
        with socket.create_connection((parts.hostname, parts.port)) as plain:
            connection = (
                context.wrap_socket(plain, server_hostname=parts.hostname) if context else plain
            )
            connection.sendall(f"POST / HTTP/1.1\r\nHost: x\r\n{said}\r\n".encode() + body.before)
            write(connection, path)
            connection.sendall(body.after)
            return int(connection.recv(4096).split(b" ")[1])

    yield send


read_write = in_thread.uploader(functools.partial(_sockets, write=_copied))
sendfile = in_thread.uploader(functools.partial(_sockets, write=_left_to_the_kernel))
