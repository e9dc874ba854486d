"""The native half of outhaul. Only `outhaul._native` imports it.

Every class is safe to use from several threads; every method that takes a lock, copies or reads a
file first lets go of the interpreter; none calls back into Python. Times are milliseconds.
"""

from collections.abc import Sequence
from typing import TypeAlias, final

__all__ = ["MultipartEncoder", "ProgressMeter"]

_TextPart: TypeAlias = tuple[str, str]
_FilePart: TypeAlias = tuple[str, str, str | None, str | None]
_Update: TypeAlias = tuple[int, int, int, int, float, int | None]

@final
class MultipartEncoder:
    """A `multipart/form-data` body (RFC 7578), addressed by offset.

    Its length is known before the first byte, and any byte of it can be read without the ones
    before it, so a replay or a resume starts anywhere. Files are opened and fingerprinted when the
    encoder is made and stay open until it is collected; their bytes stay on disk until read.
    """

    def __new__(
        cls,
        parts: Sequence[_TextPart | _FilePart],
        *,
        escape: str = "html5",
        boundary: str | None = None,
        roots: Sequence[str] | None = None,
    ) -> MultipartEncoder:
        """Opens the files and lays out the body. O(number of parts + length of names and values).

        Args:
            parts: In the order they are sent; names may repeat. A text field is `(name, value)`; a
                file is `(name, path, file_name, content_type)`, where `None` stands for the last
                component of the path and for `application/octet-stream`.
            escape: What becomes of quotes, backslashes and line breaks in names. `"html5"`: what
                browsers send. `"backslash"`: quoted pairs. `"percent"`: what aiohttp sends.
                `"strict"`: such names are refused.
            boundary: 1 to 70 characters, from an encoder of the same body made before; `None`
                takes 192 bits from the operating system.
            roots: Directories beneath which files may be opened, links and `..` resolved; `None`
                is everywhere.

        Raises:
            InvalidArgumentError: A name is empty or has control characters, a content type is none,
                a value contains the boundary, or an option has no such value.
            SourceNotFoundError: A path has no regular file.
            SourcePermissionError: A file may not be read.
            SecurityViolationError: A path leads out of `roots`.
        """

    @property
    def content_length(self) -> int:
        """The exact length of the body in bytes."""

    @property
    def content_type(self) -> str | None:
        """The value of the request's Content-Type header."""

    @property
    def boundary(self) -> str:
        """What separates the parts; give it to the next encoder to get the same body again."""

    def read_at(self, offset: int, size: int) -> bytes:
        """The body from `offset`: `size` bytes, or what is left; `b""` at the end and after it.

        The files are checked after their bytes were read, and all of them before the last byte of
        the body is given out. Reads the disk: call it off the event loop unless the file is cached.

        Args:
            offset: In bytes from the start of the body; unsigned 64-bit.
            size: In bytes, at most 16 MiB.

        Raises:
            SourceChangedError: A file grew, shrank, was rewritten or cut while it was read. Send
                no further byte.
            InvalidArgumentError: `size` is over the bound.
            OverflowError: A number is negative or too large.
        """

@final
class ProgressMeter:
    """How far one transfer has come: never backwards, never too often, never done too early.

    An update is `(percent, bytes_sent, bytes_acknowledged, bytes_total, rate_bytes_per_s,
    remaining_ms)`; the last is `None` while no rate is known. At most 101 come of one attempt.
    """

    def __new__(
        cls, total: int, *, mark_percent: int = 0, interval_min_ms: int = 100
    ) -> ProgressMeter:
        """A meter for one body.

        Args:
            total: The length of the body in bytes; unsigned 64-bit.
            mark_percent: What an earlier attempt has told; 0 to 99.
            interval_min_ms: The least time between two updates.
        """

    def begin(self, *, now_ms: int) -> _Update:
        """An attempt begins at the first byte. Always an update: 0 %, or where the mark stands.

        Args:
            now_ms: A clock that only goes forward, the same for every call.
        """

    def sent(self, bytes_so_far: int, *, now_ms: int) -> _Update | None:
        """The first `bytes_so_far` bytes of the body are handed to the kernel in this attempt.

        Args:
            bytes_so_far: From the start of the body; a smaller count than before is ignored.
            now_ms: As in `begin`.
        """

    def acknowledged(self, bytes_so_far: int, *, now_ms: int) -> _Update | None:
        """The server has the first `bytes_so_far` bytes of the body; they count as sent, too.

        Args:
            bytes_so_far: From the start of the body; a smaller count than before is ignored.
            now_ms: As in `begin`.
        """

    def answered(self, *, now_ms: int) -> _Update:
        """The server has accepted the whole body. Always an update: 100 %. Nothing follows it.

        Args:
            now_ms: As in `begin`.
        """

    @property
    def percent(self) -> int:
        """What was told last, or carried over; 100 only after `answered`."""

    @property
    def next_gate(self) -> int:
        """Below this count `sent` surely returns `None`, so a hot path need not call it."""
