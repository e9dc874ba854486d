"""Makes stdin, stdout and stderr usable, even where the parent has closed them."""

from __future__ import annotations

import io
import os
import sys


def prepare() -> None:
    """Makes all three usable: before anything opens a file, which would take a closed one's place.

    One that is closed leads nowhere, as a shell's `<&-` means it. What the user's locale does not
    have is a question mark on the standard output.
    """
    for descriptor in (0, 1, 2):
        try:
            os.fstat(descriptor)
        except OSError:
            os.open(os.devnull, os.O_RDWR)  # takes the lowest number that is free: this one
    sys.stdin = sys.stdin or _leading_to(0, "r")
    sys.stdout = sys.stdout or _leading_to(1, "w")
    sys.stderr = sys.stderr or _leading_to(2, "w")
    if isinstance(sys.stdout, io.TextIOWrapper):
        sys.stdout.reconfigure(errors="replace")


def _leading_to(descriptor: int, mode: str) -> io.TextIOWrapper:
    stream = open(descriptor, mode, encoding="utf-8", closefd=False)  # noqa: SIM115 — for as long as the process lives
    assert isinstance(stream, io.TextIOWrapper)
    return stream
