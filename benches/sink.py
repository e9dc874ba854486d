"""The server of every upload: reads requests, discards bodies, counts, and answers 200.

It knows just enough HTTP/1.1 for the clients measured here: Content-Length, Expect, keep-alive.
Plain connections share one epoll loop (no thread ever waits for the interpreter); a TLS connection
has a thread, which lets go of the interpreter while it reads. Bodies go to a 1 MiB buffer.
`GET /` answers with what was counted. It says its port on its first line and ends with stdin.

    python -m benches.sink [CERTIFICATE KEY]
"""

from __future__ import annotations

import contextlib
import json
import re
import select
import socket
import ssl
import subprocess
import sys
import threading
import urllib.request
from typing import TYPE_CHECKING

from benches.child import ROOT, environment

if TYPE_CHECKING:
    from collections.abc import Iterator

BUFFER_BYTES = 1024 * 1024
_LENGTH = re.compile(rb"\r\ncontent-length: *(\d+)", re.IGNORECASE)
_EXPECT = re.compile(rb"\r\nexpect: *100-continue", re.IGNORECASE)
_CONTINUE = b"HTTP/1.1 100 Continue\r\n\r\n"
_OK = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\nContent-Type: text/plain\r\n\r\nok"
_TOTALS: dict[str, int] = {"requests": 0, "body_bytes": 0}
_CIPHERS: set[str] = set()


class Exchange:
    """One connection's requests, without I/O: bytes in, the bytes to answer out."""

    def __init__(self) -> None:
        self._head = bytearray()
        self._left = 0  # body bytes still to come
        self._length = 0

    def feed(self, view: memoryview) -> bytes:
        answer = b""
        while view:
            if self._left:
                taken = min(self._left, len(view))
                self._left -= taken
                view = view[taken:]
                if not self._left:
                    answer += self._done()
                continue
            self._head += view
            end = self._head.find(b"\r\n\r\n")
            if end < 0:
                break
            head = bytes(self._head[: end + 2])
            view = memoryview(bytes(self._head[end + 4 :]))
            self._head.clear()
            answer += self._begin(head)
        return answer

    def _begin(self, head: bytes) -> bytes:
        if head.startswith(b"GET "):
            body = json.dumps({**_TOTALS, "ciphers": sorted(_CIPHERS)}).encode()
            return b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n%b" % (len(body), body)
        length = _LENGTH.search(head)
        if length is None:
            return b"HTTP/1.1 411 Length Required\r\nContent-Length: 0\r\n\r\n"
        self._left = self._length = int(length[1])
        answer = _CONTINUE if _EXPECT.search(head) else b""
        return answer if self._left else answer + self._done()

    def _done(self) -> bytes:
        _TOTALS["requests"] += 1
        _TOTALS["body_bytes"] += self._length
        return _OK


def serve_plain(listener: socket.socket) -> None:
    buffer = memoryview(bytearray(BUFFER_BYTES))
    open_: dict[int, tuple[socket.socket, Exchange]] = {}
    poll = select.epoll()
    poll.register(listener, select.EPOLLIN)
    while True:
        for number, _ in poll.poll():
            if number == listener.fileno():
                connection, _address = listener.accept()
                connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
                open_[connection.fileno()] = (connection, Exchange())
                poll.register(connection, select.EPOLLIN)
                continue
            connection, exchange = open_[number]
            try:
                count = connection.recv_into(buffer)
                answer = exchange.feed(buffer[:count])
                if answer:
                    connection.sendall(answer)
            except OSError:
                count = 0
            if not count:
                del open_[number]
                poll.unregister(number)
                connection.close()


def serve_tls(listener: socket.socket, certificate: str, key: str) -> None:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificate, key)
    while True:
        connection, _address = listener.accept()
        connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        threading.Thread(target=_read_tls, args=(connection, context), daemon=True).start()


def _read_tls(connection: socket.socket, context: ssl.SSLContext) -> None:
    buffer = memoryview(bytearray(BUFFER_BYTES))
    exchange = Exchange()
    with contextlib.suppress(OSError), context.wrap_socket(connection, server_side=True) as secure:
        cipher = secure.cipher()
        if cipher is not None:
            _CIPHERS.add(f"{cipher[1]} {cipher[0]}")
        while count := secure.recv_into(buffer):
            answer = exchange.feed(buffer[:count])
            if answer:
                secure.sendall(answer)


@contextlib.contextmanager
def running(certificate: str = "", key: str = "") -> Iterator[str]:
    """A sink in a process of its own; yields its URL."""
    command = [sys.executable, "-m", "benches.sink", *([certificate, key] if certificate else [])]
    process = subprocess.Popen(
        command, cwd=ROOT, env=environment(), text=True,
        stdin=subprocess.PIPE, stdout=subprocess.PIPE,
    )  # fmt: skip
    with process:
        assert process.stdout is not None
        assert process.stdin is not None
        port = process.stdout.readline().strip()
        assert port, "the sink did not start"
        try:
            yield f"{'https' if certificate else 'http'}://127.0.0.1:{port}/upload"
        finally:
            process.stdin.close()


def totals(url: str, ca_file: str = "") -> dict[str, int]:
    """What the sink has counted since it began."""
    context = ssl.create_default_context(cafile=ca_file) if ca_file else None
    with urllib.request.urlopen(url, context=context) as answer:
        counted: dict[str, int] = json.loads(answer.read())
    return counted


def main() -> None:
    listener = socket.create_server(("127.0.0.1", 0), backlog=512)
    print(listener.getsockname()[1], flush=True)
    serve = (
        threading.Thread(target=serve_tls, args=(listener, *sys.argv[1:3]), daemon=True)
        if len(sys.argv) > 2
        else threading.Thread(target=serve_plain, args=(listener,), daemon=True)
    )
    serve.start()
    sys.stdin.read()  # until whoever started us has gone


if __name__ == "__main__":
    main()
