"""The server of every upload, in a process of its own: `python -m outhaul_bench.sink [CERT KEY]`.

It is native (`rust/sink`), so that the client is what is measured.
"""

from __future__ import annotations

import contextlib
import json
import signal
import ssl
import subprocess
import sys
import urllib.request
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from pathlib import Path


@contextlib.contextmanager
def running(certificate: str = "", key: str = "", within: tuple[str, ...] = ()) -> Iterator[str]:
    """A sink in a process of its own; yields its URL."""
    files = [certificate, key] if certificate else []
    command = [*within, sys.executable, "-m", __name__, *files]
    process = subprocess.Popen(command, text=True, stdin=subprocess.PIPE, stdout=subprocess.PIPE)
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
    handlers = [urllib.request.ProxyHandler({}), urllib.request.HTTPSHandler(context=context)]
    with urllib.request.build_opener(*handlers).open(url, timeout=30) as answer:
        counted: dict[str, int] = json.loads(answer.read())
    return counted


@contextlib.contextmanager
def receiving(paths: Sequence[Path], url: str, ca_file: str = "") -> Iterator[None]:
    """Whoever says that these files were uploaded has to have sent them."""
    before = totals(url, ca_file)
    yield
    after = totals(url, ca_file)
    assert after["requests"] >= before["requests"] + len(paths), (before, after)
    size = sum(path.stat().st_size for path in paths)
    assert after["body_bytes"] >= before["body_bytes"] + size, (before, after)


def main() -> None:
    """Says the port on its first line, and ends with its standard input."""
    from outhaul._native import serve_sink  # noqa: PLC0415 — in the sink's process only

    signal.signal(signal.SIGINT, signal.SIG_IGN)  # which is for who reads the figures
    print(serve_sink(*sys.argv[1:]), flush=True)
    sys.stdin.read()


if __name__ == "__main__":
    main()
