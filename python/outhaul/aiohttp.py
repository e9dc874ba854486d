"""Our body in a user's own aiohttp session: `session.post(url, data=MultipartPayload([...]))`.

It is addressed by offset and nothing of it is used up: aiohttp's own retry, a redirect that keeps
the body, and another request send it again from the first byte.
"""

from __future__ import annotations

import asyncio
import inspect
import mimetypes
import os
from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING, Final
from weakref import WeakValueDictionary

import msgspec
from aiohttp.payload import Payload

from outhaul._native import MultipartEncoder, ProgressMeter
from outhaul.arguments import (
    Value,
    absolute_path,
    directories,
    optional_text,
    text,
    unknown_keyword,
    wrong_type,
)
from outhaul.errors import InvalidArgumentError, InvalidTypeError
from outhaul.human import HumanProgress

if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Literal, Never

    from aiohttp.abc import AbstractStreamWriter

    StrPath = str | os.PathLike[str]

__all__ = ["FilePart", "MultipartPayload", "Part", "TextPart", "UploadProgress"]

_TextWire = tuple[str, str]
_FileWire = tuple[str, str, str | None, str | None]

# What a loop is held for: a third of a millisecond. Half of it is slower by a fifth, and uvloop
# lets a TLS connection buffer as much anyway.
_CHUNK_BYTES: Final = 512 * 1024

# Who sends next, on each loop: one chunk each time the loop goes round, however many uploads
# there are. INVARIANT: nobody waits for the network or the disk while it is their turn.
_TURNS: Final[WeakValueDictionary[asyncio.AbstractEventLoop, asyncio.Lock]] = WeakValueDictionary()

_COMPRESSED: Final = {
    "bzip2": "application/x-bzip2",
    "gzip": "application/gzip",
    "xz": "application/x-xz",
}
mimetypes.guess_type("")  # reads the system's tables now, and not on an event loop


class TextPart(Value[_TextWire]):
    """A text field of a form."""

    __slots__ = ("wire",)

    def __init__(self, name: str, value: str, **unknown: Never) -> None:
        """Checks what it is made of.

        Args:
            name: The field's name; names may repeat.
            value: The text, sent as UTF-8, its line breaks as CRLF.
            unknown: Refused.

        Raises:
            InvalidArgumentError: Text that UTF-8 cannot carry.
            InvalidTypeError: A wrong type, or an argument that does not exist.
        """
        if unknown:
            raise unknown_keyword(type(self).__init__, unknown)
        self.wire = (text("name", name), text("value", value))


class FilePart(Value[_FileWire]):
    """A file of a form, opened when a payload is made of it."""

    __slots__ = ("wire",)

    def __init__(
        self,
        name: str,
        path: StrPath,
        *,
        file_name: str | None = None,
        content_type: str | None = None,
        **unknown: Never,
    ) -> None:
        """Checks what it is made of; the file is not looked at.

        Args:
            name: The field's name; names may repeat.
            path: Which file. Made absolute now.
            file_name: The name told to the server; `None` is the file's own.
            content_type: The media type told to the server; `None` is guessed from the name.
            unknown: Refused.

        Raises:
            InvalidArgumentError: An empty path, or text that UTF-8 cannot carry.
            InvalidTypeError: A wrong type, or an argument that does not exist.
        """
        if unknown:
            raise unknown_keyword(type(self).__init__, unknown)
        name, path = text("name", name), absolute_path("path", path)
        file_name = optional_text("file_name", file_name)
        content_type = optional_text("content_type", content_type)
        if content_type is None:
            content_type = _guessed(file_name or path)
        self.wire = (name, path, file_name, content_type)


Part = TextPart | FilePart | tuple[str, str]


class UploadProgress(HumanProgress, msgspec.Struct, frozen=True, gc=False):
    """How far an upload is.

    Attributes:
        percent: 0 to 99, never going back; what is missing to 100 is the server's answer.
        bytes_sent: Handed to the network.
        bytes_total: Of the whole request body.
        rate_bytes_per_s: Smoothed.
        remaining_ms: Estimated; `None` where nothing is known.
    """

    percent: int
    bytes_sent: int
    bytes_total: int
    rate_bytes_per_s: float = 0.0
    remaining_ms: int | None = None


class MultipartPayload(Payload):
    """A `multipart/form-data` body for requests of an aiohttp session.

    The body is exact: the declared bytes of the very files that were opened, or an error and a
    closed connection. A file that grew, shrank or was rewritten ends the request as an
    `aiohttp.ClientConnectionError` whose `__cause__` is a `SourceChangedError`. The last bytes are
    held back until every file was looked at once more, so that no server can take another body for
    this one. A name that leads to another file by now changes nothing: the open file is sent.

    It may be sent any number of times. Its files stay open until it is collected; memory does not
    depend on their size. The event loop is never held for more than a few milliseconds: what is
    not in the page cache is read in a thread. Leave `Content-Type` and `Content-Length` to it, and
    mind that aiohttp ends every request after five minutes unless a `ClientTimeout` says otherwise.
    """

    _value: MultipartEncoder
    _autoclose = True  # its files close themselves: nothing to warn of where aiohttp drops it

    def __init__(
        self,
        parts: Iterable[Part],
        *,
        escape: Literal["html5", "backslash", "percent", "strict"] = "html5",
        boundary: str | None = None,
        allowed_roots: Iterable[StrPath] | None = None,
        on_progress: Callable[[UploadProgress], object] | None = None,
        **unknown: Never,
    ) -> None:
        """Opens the files and lays out the body.

        That takes microseconds on a local disk. Where files lie on a network, make it in a thread:
        `await asyncio.to_thread(MultipartPayload, parts)`.

        Args:
            parts: In the order they are sent; a pair of strings is a `TextPart`.
            escape: What becomes of quotes, backslashes and line breaks in names. `"html5"`: what
                browsers send. `"backslash"`: quoted pairs. `"percent"`: what aiohttp sends.
                `"strict"`: such names are refused.
            boundary: What separates the parts, 1 to 70 characters; `None` is random.
            allowed_roots: Directories that files must lie beneath, links and `..` resolved; `None`
                is anywhere.
            on_progress: Called on the event loop at 0 %, then at most once for each percent that
                the kernel has taken, up to 99 %, however often the body is sent. 100 % is when you
                have the answer. What it raises ends the request: aiohttp's error then has an
                `InvalidArgumentError` that names `on_progress` as its `__cause__`, which has yours.
            unknown: Refused.

        Raises:
            InvalidArgumentError: A value that means nothing here.
            InvalidTypeError: A wrong type, or an argument that does not exist.
            SecurityViolationError: A path leads out of `allowed_roots`.
            SourceNotFoundError: A path has no regular file.
            SourcePermissionError: A file may not be read.
        """
        if unknown:
            raise unknown_keyword(type(self).__init__, unknown)
        wires, escaping = _wires(parts), text("escape", escape)
        boundary = optional_text("boundary", boundary)
        roots = directories("allowed_roots", allowed_roots) or None
        try:
            encoder = MultipartEncoder(wires, escape=escaping, boundary=boundary, roots=roots)
        except InvalidArgumentError as error:
            if error.argument == "roots":
                error.argument = "allowed_roots"  # as the caller spells it
            raise
        super().__init__(encoder, content_type=encoder.content_type)
        self._length = encoder.content_length
        self._progress = None if on_progress is None else _Progress(self._length, on_progress)

    @property
    def size(self) -> int:
        """The exact length of the body in bytes."""
        return self._length

    async def write(self, writer: AbstractStreamWriter) -> None:
        """Sends the body from its first byte."""
        await self.write_with_length(writer, None)

    async def write_with_length(
        self, writer: AbstractStreamWriter, content_length: int | None
    ) -> None:
        """Sends the body from its first byte, where it is as long as was declared.

        Args:
            writer: aiohttp's.
            content_length: What the request's head says; `None` where it says nothing, because
                `chunked` or `compress` was asked for.

        Raises:
            InvalidArgumentError: Another length was declared. Nothing was sent.
            SourceChangedError: A file is not what it was. The body was not sent to its end.
        """
        if content_length not in (None, self._length):
            raise InvalidArgumentError(
                f"is {content_length} and the body has {self._length} bytes: leave it to aiohttp",
                argument="Content-Length",
            )
        try:
            await self._send(writer)
        except BaseException:
            # aiohttp closes the connection, too, but lets go out first what it has buffered, and
            # waits for the rest of an answer that came early.
            transport = _transport(writer)
            if transport is not None:
                transport.abort()
            raise

    async def _send(self, writer: AbstractStreamWriter) -> None:
        encoder, progress, loop = self._value, self._progress, asyncio.get_running_loop()
        turn = _TURNS.setdefault(loop, asyncio.Lock())
        if progress is not None:
            progress.begin(loop.time())
        offset = 0
        while offset < self._length:
            async with turn:
                await asyncio.sleep(0)
            chunk = encoder.read_at_nowait(offset, _CHUNK_BYTES)
            if chunk is None:
                chunk = await asyncio.to_thread(encoder.read_at, offset, _CHUNK_BYTES)
            await writer.write(chunk)
            offset += len(chunk)
            if progress is not None:
                transport = _transport(writer)
                waiting = 0 if transport is None else transport.get_write_buffer_size()
                progress.sent(offset - waiting, loop.time())

    async def close(self) -> None:
        """Nothing: aiohttp calls it after each request, and the body may be sent again."""

    def decode(self, encoding: str = "utf-8", errors: str = "strict") -> str:  # noqa: ARG002 — aiohttp's signature
        """Refuses, and so does `as_bytes`: the body is read while it is sent, a piece at a time.

        Raises:
            InvalidTypeError: Always.
        """
        raise InvalidTypeError(
            f"a MultipartPayload is never in memory as a whole ({self._length} bytes): "
            "only send it; digest authentication needs qop=auth, not auth-int"
        )


class _Progress:
    """One meter for all the times that a body is sent, so that its percentage never falls."""

    def __init__(self, total: int, tell: Callable[[UploadProgress], object]) -> None:
        if not callable(tell) or inspect.iscoroutinefunction(tell):
            raise wrong_type("on_progress", tell, "a plain function of one argument")
        self._meter = ProgressMeter(total, interval_min_ms=0)
        self._tell = tell
        self._gate = -1  # below this count there is nothing to tell; nothing was told yet

    def begin(self, now_s: float) -> None:
        update = self._meter.begin(now_ms=int(now_s * 1000))
        if self._gate < 0:  # the next time it stands where it stood
            self._say(update)

    def sent(self, bytes_so_far: int, now_s: float) -> None:
        if bytes_so_far >= self._gate:
            update = self._meter.sent(bytes_so_far, now_ms=int(now_s * 1000))
            if update is not None:
                self._say(update)

    def _say(self, update: tuple[int, int, int, int, float, int | None]) -> None:
        percent, bytes_sent, _, bytes_total, rate, remaining_ms = update
        self._gate = self._meter.next_gate
        try:
            self._tell(UploadProgress(percent, bytes_sent, bytes_total, rate, remaining_ms))
        except Exception as error:
            # Not as it is: aiohttp would take an OSError for the network's, and send a PUT again.
            raise InvalidArgumentError(
                f"raised {type(error).__name__}: the request was given up", argument="on_progress"
            ) from error


def _transport(writer: AbstractStreamWriter) -> asyncio.WriteTransport | None:
    """Where a body goes; the writer that compresses it as a part of another body has none."""
    return getattr(writer, "transport", None)


def _wires(parts: object) -> list[_TextWire | _FileWire]:
    if isinstance(parts, (str, bytes, Mapping)) or not isinstance(parts, Iterable):
        raise wrong_type("parts", parts, "a list of parts")
    return [_wire(f"parts[{number}]", part) for number, part in enumerate(parts)]


def _wire(argument: str, part: object) -> _TextWire | _FileWire:
    if isinstance(part, (TextPart, FilePart)):
        return part.wire
    if not isinstance(part, tuple) or len(part) != 2:  # noqa: PLR2004 — a pair
        raise wrong_type(argument, part, "a TextPart, a FilePart or a pair of strings")
    name, value = part
    if not isinstance(value, str):
        raise wrong_type(f"{argument}.value", value, "a string (a file is a FilePart)")
    return text(f"{argument}.name", name), text(f"{argument}.value", value)


def _guessed(name: str) -> str | None:
    """The media type of a name; `None` where it tells nothing."""
    # It is made for URLs: a name that begins like one must not be taken for one.
    kind, encoding = mimetypes.guess_type(f"./{os.path.basename(name)}")  # noqa: PTH119 — no Path
    return kind if encoding is None else _COMPRESSED.get(encoding)
