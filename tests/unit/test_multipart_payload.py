"""`outhaul.aiohttp`: what its parts accept, what the payload tells aiohttp, how it takes turns."""

from __future__ import annotations

import asyncio
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any
from unittest.mock import Mock

import pytest
from aiohttp.abc import AbstractStreamWriter

from outhaul.aiohttp import FilePart, MultipartPayload, Part, TextPart, UploadProgress
from outhaul.errors import (
    InvalidArgumentError,
    InvalidTypeError,
    OuthaulError,
    SecurityViolationError,
    SourceChangedError,
    SourceNotFoundError,
)

Make = Callable[..., Path]


@pytest.fixture
def make(tmp_path: Path) -> Make:
    def make(content: bytes = b"hello", name: str = "photo.jpg") -> Path:
        path = tmp_path / name
        path.write_bytes(content)
        return path

    return make


class Writer(AbstractStreamWriter):
    """Takes everything at once, as a fast network does, and keeps it."""

    def __init__(self, *, buffered_bytes: int | None = None) -> None:
        self.chunks: list[bytes] = []
        self.at_round: list[int] = []
        self.to = None if buffered_bytes is None else Mock(spec=asyncio.Transport)
        if self.to is not None:
            self.to.get_write_buffer_size.return_value = buffered_bytes

    @property
    def transport(self) -> Any:  # noqa: ANN401 — a stand-in
        return self.to

    @property
    def body(self) -> bytes:
        return b"".join(self.chunks)

    async def write(self, chunk: bytes | bytearray | memoryview) -> None:
        self.chunks.append(bytes(chunk))
        self.at_round.append(Rounds.now)

    async def write_eof(self, chunk: bytes = b"") -> None:
        """Nobody calls it."""

    async def drain(self) -> None:
        """There is always room."""

    def enable_compression(self, encoding: str = "deflate", strategy: int | None = None) -> None:
        """Nobody calls it."""

    def enable_chunking(self) -> None:
        """Nobody calls it."""

    async def write_headers(self, status_line: str, headers: object) -> None:
        """Nobody calls it."""


class Rounds:
    """Counts how often the event loop goes round."""

    now = 0

    async def __aenter__(self) -> None:
        Rounds.now = 0
        self._counting = asyncio.create_task(self._count())
        await asyncio.sleep(0)

    async def __aexit__(self, *_: object) -> None:
        self._counting.cancel()

    async def _count(self) -> None:
        while True:
            Rounds.now += 1
            await asyncio.sleep(0)


any_text: Any = TextPart  # for what a type checker would refuse
any_file: Any = FilePart
any_payload: Any = MultipartPayload


@pytest.mark.parametrize(
    ("build", "error", "argument", "fix"),
    [
        pytest.param(lambda: any_text(b"a", "b"), InvalidTypeError, "name", "a string", id="bytes"),
        pytest.param(lambda: any_text("a", 7), InvalidTypeError, "value", "a string", id="number"),
        pytest.param(
            lambda: any_text("a", "\ud800"), InvalidArgumentError, "value", "UTF-8", id="surrogate"
        ),
        pytest.param(
            lambda: any_text("a", "b", file_name="c"),
            *(InvalidTypeError, "file_name", "not an argument"),
            id="a text has no file name",
        ),
        pytest.param(lambda: any_file("a", 7), InvalidTypeError, "path", "a Path", id="no path"),
        pytest.param(lambda: any_file("a", ""), InvalidArgumentError, "path", "empty", id="empty"),
        pytest.param(
            lambda: any_file("a", "b", file_name=b"c"),
            *(InvalidTypeError, "file_name", "a string"),
            id="a file name in bytes",
        ),
        pytest.param(
            lambda: any_file("a", "b", mime_type="c"),
            *(InvalidTypeError, "mime_type", "there are name"),
            id="another word for it",
        ),
        pytest.param(
            lambda: any_payload([], boundry="x"),
            *(InvalidTypeError, "boundry", "did you mean boundary?"),
            id="a misspelt option",
        ),
        pytest.param(
            lambda: any_payload({"a": "b"}),
            InvalidTypeError,
            "parts",
            "a list",
            id="a mapping",
        ),
        pytest.param(
            lambda: any_payload(any_text("a", "b")),
            *(InvalidTypeError, "parts", "a list"),
            id="one part that is not in a list",
        ),
        pytest.param(
            lambda: any_payload([any_text("a", "b"), "c"]),
            *(InvalidTypeError, "parts[1]", "a pair of strings"),
            id="a string that is no part",
        ),
        pytest.param(
            lambda: any_payload([("a", Path("b"))]),
            *(InvalidTypeError, "parts[0].value", "a file is a FilePart"),
            id="a path where text is",
        ),
        pytest.param(
            lambda: any_payload([("a", "b"), (7, "b")]),
            *(InvalidTypeError, "parts[1].name", "a string"),
            id="a name that is none",
        ),
        pytest.param(
            lambda: any_payload([("", "b")]), InvalidArgumentError, "", "empty", id="no name"
        ),
        pytest.param(
            lambda: any_payload([("a\0", "b")]),
            *(InvalidArgumentError, "", "control"),
            id="a control character in a name",
        ),
        pytest.param(
            lambda: any_payload([], escape="url"),
            *(InvalidArgumentError, "escape", "html5"),
            id="an unknown escape",
        ),
        pytest.param(
            lambda: any_payload([], escape=None),
            InvalidTypeError,
            "escape",
            "",
            id="no escape",
        ),
        pytest.param(
            lambda: any_payload([], boundary=" "),
            *(InvalidArgumentError, "boundary", ""),
            id="a boundary that is none",
        ),
        pytest.param(
            lambda: any_payload([], allowed_roots="/data"),
            *(InvalidTypeError, "allowed_roots", "a list"),
            id="one root that is not in a list",
        ),
        pytest.param(
            lambda: any_payload([], allowed_roots=[]),
            *(InvalidArgumentError, "allowed_roots", "leave it out"),
            id="no root at all",
        ),
        pytest.param(
            lambda: any_payload([], allowed_roots=["/no/such/place"]),
            *(InvalidArgumentError, "allowed_roots", ""),
            id="a root that is not there",
        ),
        pytest.param(
            lambda: any_payload([], on_progress=7),
            *(InvalidTypeError, "on_progress", "a plain function"),
            id="nothing to call",
        ),
        pytest.param(
            lambda: any_payload([], on_progress=asyncio.sleep),
            *(InvalidTypeError, "on_progress", "a plain function"),
            id="a coroutine function would never run",
        ),
        pytest.param(
            lambda: any_payload([any_file("a", "/no/such/file")]),
            *(SourceNotFoundError, "parts[0].path", "File not found"),
            id="a file that is not there",
        ),
        pytest.param(
            lambda: any_payload([("a", "b"), any_file("a", "/tmp")]),
            *(SourceNotFoundError, "parts[1].path", "a directory"),
            id="a directory",
        ),
        pytest.param(
            lambda: any_payload([any_file("a", "/etc/passwd")], allowed_roots=["/tmp"]),
            *(SecurityViolationError, "parts[0].path", "outside"),
            id="a file outside the roots",
        ),
    ],
)
def test_what_makes_no_sense_is_one_typed_error_that_names_it(
    build: Callable[[], object], error: type[OuthaulError], argument: str, fix: str
) -> None:
    with pytest.raises(error) as refused:
        build()
    assert type(refused.value) is error
    assert argument in refused.value.argument
    assert fix in str(refused.value)


def test_a_content_type_that_would_break_the_head_is_refused(make: Make) -> None:
    with pytest.raises(InvalidArgumentError, match=r"parts\[0\]"):
        MultipartPayload([FilePart("a", make(), content_type="text/plain\r\nX: y")])


@pytest.mark.parametrize(
    ("name", "guess"),
    [
        ("a.jpg", "image/jpeg"),
        ("A.PNG", "image/png"),
        ("a.tar.gz", "application/gzip"),
        ("a.svg.br", None),
        ("a.unheard-of", None),
        ("jpg", None),
        ("data:x,.png", "image/png"),
        ("http:a.png", "image/png"),
    ],
)
def test_a_media_type_is_guessed_from_the_name_alone(name: str, guess: str | None) -> None:
    assert FilePart("f", f"/d.txt/{name}").wire[3] == guess
    assert FilePart("f", "/d.txt", file_name=name).wire[3] == guess


def test_a_media_type_that_was_given_is_not_guessed() -> None:
    assert FilePart("f", "/a.jpg", content_type="a/b").wire[3] == "a/b"


def test_parts_are_values() -> None:
    assert TextPart("a", "b") == TextPart("a", "b") != TextPart("a", "c")
    assert FilePart("a", "/b") == FilePart("a", Path("/b")) != FilePart("b", "/b")
    assert len({FilePart("a", "/b"), FilePart("a", "/b")}) == 1
    assert "/b" in repr(FilePart("a", "/b"))


async def test_the_body_is_the_parts_in_their_order(make: Make) -> None:
    path = make(b"data", "a.txt")
    parts: list[Part] = [TextPart("x", "1\n2"), FilePart("f", path), ("x", "3")]
    payload, writer = MultipartPayload(iter(parts), boundary="B"), Writer()
    await payload.write(writer)
    assert writer.body == (
        b'--B\r\nContent-Disposition: form-data; name="x"\r\n\r\n1\r\n2\r\n'
        b'--B\r\nContent-Disposition: form-data; name="f"; filename="a.txt"\r\n'
        b"Content-Type: text/plain\r\n\r\ndata\r\n"
        b'--B\r\nContent-Disposition: form-data; name="x"\r\n\r\n3\r\n'
        b"--B--\r\n"
    )


async def test_a_form_without_parts_is_its_end() -> None:
    writer = Writer()
    await MultipartPayload([], boundary="B").write(writer)
    assert writer.body == b"--B--\r\n"


def test_the_head_says_type_boundary_and_nothing_else() -> None:
    headers = MultipartPayload([("a", "b")], boundary="B").headers
    assert dict(headers) == {"Content-Type": "multipart/form-data; boundary=B"}
    other = MultipartPayload([("a", "b")])
    assert other.content_type != MultipartPayload([("a", "b")]).content_type


async def test_the_size_is_exact_and_stays_whatever_becomes_of_the_file(make: Make) -> None:
    path, writer = make(b"x" * 1000), Writer()
    payload = MultipartPayload([("a", "ü"), FilePart("f", path)])
    await payload.write(writer)
    assert payload.size == len(writer.body)
    path.write_bytes(b"")
    assert payload.size == len(writer.body)


async def test_nothing_is_used_up_and_closing_takes_nothing_away(make: Make) -> None:
    payload, first, second = MultipartPayload([FilePart("f", make())]), Writer(), Writer()
    await payload.write(first)
    await payload.close()
    await payload.write_with_length(second, payload.size)
    assert first.body == second.body
    assert not payload.consumed
    assert payload.autoclose


async def test_it_can_be_made_in_a_thread(make: Make) -> None:
    payload = await asyncio.to_thread(MultipartPayload, [FilePart("f", make())])
    writer = Writer()
    await payload.write(writer)
    assert len(writer.body) == payload.size


async def test_it_is_never_one_string(make: Make) -> None:
    payload = MultipartPayload([FilePart("f", make())])
    with pytest.raises(InvalidTypeError, match="never in memory as a whole"):
        payload.decode()
    with pytest.raises(InvalidTypeError, match="auth-int"):
        await payload.as_bytes()


@pytest.mark.parametrize("declared", [0, 5, 10**9])
async def test_another_length_than_its_own_is_refused_before_the_first_byte(
    make: Make, declared: int
) -> None:
    writer = Writer()
    with pytest.raises(InvalidArgumentError, match=f"Content-Length: is {declared}"):
        await MultipartPayload([FilePart("f", make())]).write_with_length(writer, declared)
    assert not writer.chunks


async def test_a_changed_file_ends_the_connection_at_once(make: Make) -> None:
    path = make()
    payload, writer = MultipartPayload([FilePart("f", path)]), Writer(buffered_bytes=0)
    os.truncate(path, 0)
    with pytest.raises(SourceChangedError) as changed:
        await payload.write_with_length(writer, payload.size)
    assert changed.value.argument == "parts[0].path"
    assert not writer.chunks
    assert writer.to is not None
    writer.to.abort.assert_called_once()


async def test_what_the_kernel_does_not_have_yet_does_not_count_as_sent(make: Make) -> None:
    told: list[UploadProgress] = []
    payload = MultipartPayload([FilePart("f", make(b"x" * 50_000))], on_progress=told.append)
    await payload.write(Writer(buffered_bytes=payload.size * 3 // 4))
    assert [update.percent for update in told] == [0, 25]
    assert told[-1].bytes_sent == payload.size - payload.size * 3 // 4
    assert told[-1].bytes_total == payload.size
    await payload.write(Writer(buffered_bytes=0))
    await payload.write(Writer(buffered_bytes=0))
    assert [update.percent for update in told] == [0, 25, 99]


def test_progress_speaks_to_people() -> None:
    update = UploadProgress(50, 1, 2, 3_400_000.0, 65_000)
    assert (update.rate_human, update.remaining_human) == ("3.4 MB/s", "1 min 05 s")
    assert UploadProgress(0, 0, 2).remaining_human == "unknown"


async def test_uploads_take_turns_one_chunk_each_time_the_loop_goes_round(make: Make) -> None:
    """P8: it is held for one chunk, however many uploads there are."""
    path, writers = make(bytes(3_000_000)), [Writer() for _ in range(8)]
    payloads = [MultipartPayload([FilePart("f", path)]) for _ in writers]
    path.read_bytes()
    async with Rounds():
        await asyncio.gather(*map(MultipartPayload.write, payloads, writers))
    rounds = [at for writer in writers for at in writer.at_round]
    assert len(rounds) == sum(-(-payload.size // (512 * 1024)) for payload in payloads)
    assert len(set(rounds)) == len(rounds)
    firsts = [writer.at_round[0] for writer in writers]
    assert max(firsts) < min(writer.at_round[-1] for writer in writers), "nobody waits for another"
