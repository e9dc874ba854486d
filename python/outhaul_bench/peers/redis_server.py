"""A Redis of one's own that fsyncs before it answers (`appendonly yes`, `appendfsync always`)."""

from __future__ import annotations

import contextlib
import socket
import subprocess
import time
from collections.abc import Iterator


@contextlib.contextmanager
def running(folder: str) -> Iterator[int]:
    """A server in that folder; yields its port once it answers."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
    options = f"--port {port} --bind 127.0.0.1 --dir {folder} --daemonize no --logfile redis.log"
    durable = ["--save", "", "--appendonly", "yes", "--appendfsync", "always"]
    process = subprocess.Popen(
        ["redis-server", *options.split(), *durable], stdout=subprocess.DEVNULL
    )
    try:
        _wait_for(port)
        yield port
    finally:
        process.terminate()
        process.wait()


def _wait_for(port: int) -> None:
    until = time.monotonic() + 10
    while True:
        try:
            socket.create_connection(("127.0.0.1", port)).close()
        except ConnectionRefusedError:
            if time.monotonic() > until:
                raise
            time.sleep(0.01)
        else:
            return
