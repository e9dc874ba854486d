"""A server in a process of its own, so that its work is nobody's lag or memory: says its port."""

from __future__ import annotations

import contextlib
import socket
import threading


def serve(connection: socket.socket) -> None:
    with contextlib.suppress(OSError), connection:
        buffer = bytearray(1 << 20)
        while True:
            head = b""
            while b"\r\n\r\n" not in head:
                got = connection.recv(65536)
                if not got:
                    return
                head += got
            head, _, rest = head.partition(b"\r\n\r\n")
            fields = [line.partition(b":") for line in head.lower().split(b"\r\n")]
            left = next(int(v) for k, _, v in fields if k == b"content-length") - len(rest)
            while left > 0:
                got_bytes = connection.recv_into(buffer, min(left, len(buffer)))
                if not got_bytes:
                    return
                left -= got_bytes
            connection.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n")


def main() -> None:
    with socket.create_server(("127.0.0.1", 0), backlog=128) as listener:
        print(listener.getsockname()[1], flush=True)  # noqa: T201 — how the parent learns it
        while True:
            connection, _ = listener.accept()
            threading.Thread(target=serve, args=(connection,), daemon=True).start()


if __name__ == "__main__":
    main()
