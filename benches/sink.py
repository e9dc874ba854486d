"""The server of every upload: a native one, so that the client is what is measured.

It is `rust/core/examples/sink.rs`; here it is built, started and asked what it has counted.
"""

from __future__ import annotations

import contextlib
import functools
import json
import ssl
import subprocess
import urllib.request
from typing import TYPE_CHECKING

from benches.child import ROOT

if TYPE_CHECKING:
    from collections.abc import Iterator


@functools.cache
def built() -> str:
    """The program; cargo does nothing where it is up to date."""
    command = ["cargo", "build", "--release", "--quiet", "--package", "outhaul-core"]
    messages = subprocess.run(
        [*command, "--example", "sink", "--message-format", "json"],
        cwd=ROOT, check=True, text=True, stdout=subprocess.PIPE,
    ).stdout  # fmt: skip
    made = [json.loads(line) for line in messages.splitlines()]
    return next(str(one["executable"]) for one in made if one.get("executable"))


@contextlib.contextmanager
def running(certificate: str = "", key: str = "") -> Iterator[str]:
    """A sink in a process of its own; yields its URL."""
    command = [built(), *([certificate, key] if certificate else [])]
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
    with urllib.request.urlopen(url, context=context) as answer:
        counted: dict[str, int] = json.loads(answer.read())
    return counted
