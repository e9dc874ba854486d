"""Makes stdin, stdout and stderr usable, even where the parent has closed them."""

from __future__ import annotations

import io
import os
import sys
from typing import TYPE_CHECKING, TextIO

if TYPE_CHECKING:
    from _typeshed import ReadableBuffer


class OutputError(Exception):
    """The standard output does not take what is written: its disk is full, or its terminal gone."""


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
    sys.stdout = _through(_Output(1, "w", closefd=False), sys.stdout or _leading_to(1, "w"))
    sys.stderr = _through(_Complaints(2, "w", closefd=False), sys.stderr or _leading_to(2, "w"))


class _Output(io.FileIO):
    """The standard output. What is wrong with it is said once; from then on it leads nowhere."""

    def write(self, data: ReadableBuffer, /) -> int:
        try:
            # Nothing goes into a pipe that is full, where it does not wait.
            return super().write(data) or 0
        except OSError as error:
            os.dup2(os.open(os.devnull, os.O_WRONLY), self.fileno())
            if isinstance(error, BrokenPipeError):  # its reader has seen enough
                raise
            raise OutputError(f"cannot write the output: {error.strerror}") from error


class _Complaints(_Output):
    """The standard error. What nobody is there to be told is not worth an error of its own."""

    def write(self, data: ReadableBuffer, /) -> int:
        try:
            return super().write(data)
        except (BrokenPipeError, OutputError):
            return memoryview(data).nbytes


def _through(raw: io.FileIO, shown: TextIO) -> TextIO:
    """A stream that writes as another does, but through a file of ours."""
    if not isinstance(shown, io.TextIOWrapper):
        return shown
    return io.TextIOWrapper(
        io.BufferedWriter(raw),
        encoding=shown.encoding,
        errors="replace" if raw.fileno() == 1 else shown.errors,
        line_buffering=shown.line_buffering,
        write_through=shown.write_through,
    )


def _leading_to(descriptor: int, mode: str) -> io.TextIOWrapper:
    stream = open(descriptor, mode, encoding="utf-8", closefd=False)  # noqa: SIM115 — for as long as the process lives
    assert isinstance(stream, io.TextIOWrapper)
    return stream
