"""`MultipartEncoder` over real files: any read is that slice, and a changed file is never sent."""

import os
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeAlias

import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, precondition, rule

from outhaul import errors
from outhaul._native import MultipartEncoder

BOUNDARY = "boundary-of-a-test"
BIG = 300_000

Anything: TypeAlias = Any  # what a caller without a type checker may pass


def body_of(name: str, file_name: str, data: bytes) -> bytes:
    return (
        (
            f"--{BOUNDARY}\r\n"
            f'Content-Disposition: form-data; name="{name}"; filename="{file_name}"\r\n'
            "Content-Type: application/octet-stream\r\n\r\n"
        ).encode()
        + data
        + f"\r\n--{BOUNDARY}--\r\n".encode()
    )


def one_file(path: Path, roots: list[str] | None = None) -> MultipartEncoder:
    return MultipartEncoder([("f", str(path), None, None)], boundary=BOUNDARY, roots=roots)


@pytest.fixture
def photo(tmp_path: Path) -> Path:
    path = tmp_path / "photo.jpg"
    path.write_bytes(os.urandom(BIG))
    os.utime(path, ns=(1, 1))
    return path


def test_the_body_is_what_the_rfc_says(photo: Path) -> None:
    encoder = one_file(photo)
    expected = body_of("f", "photo.jpg", photo.read_bytes())
    assert encoder.content_length == len(expected)
    assert encoder.read_at(0, len(expected) + 1) == expected
    assert encoder.content_type == f"multipart/form-data; boundary={BOUNDARY}"
    assert encoder.boundary == BOUNDARY


def test_text_fields_come_in_their_order_around_a_file(tmp_path: Path) -> None:
    path = tmp_path / "a"
    path.write_bytes(b"DATA")
    encoder = MultipartEncoder(
        [("a", "1"), ("b", str(path), "name.txt", "text/plain"), ("a", "2")], boundary="b-b"
    )
    assert encoder.read_at(0, 1_000).decode() == (
        '--b-b\r\nContent-Disposition: form-data; name="a"\r\n\r\n1\r\n'
        '--b-b\r\nContent-Disposition: form-data; name="b"; filename="name.txt"\r\n'
        "Content-Type: text/plain\r\n\r\nDATA\r\n"
        '--b-b\r\nContent-Disposition: form-data; name="a"\r\n\r\n2\r\n--b-b--\r\n'
    )


def test_two_encoders_never_share_a_boundary() -> None:
    boundaries = {MultipartEncoder([]).boundary for _ in range(100)}
    assert len(boundaries) == 100
    assert all(re.fullmatch(r"outhaul-[0-9A-Za-z_-]{32}", boundary) for boundary in boundaries)


def test_the_end_of_the_body_is_empty_and_so_is_all_after_it(photo: Path) -> None:
    encoder = one_file(photo)
    assert encoder.read_at(encoder.content_length, 10) == b""
    assert encoder.read_at(2**64 - 1, 10) == b""
    assert encoder.read_at(0, 0) == b""


def grow(path: Path) -> None:
    with path.open("ab") as file:
        file.write(b"!")


def shrink(path: Path) -> None:
    os.truncate(path, BIG - 1)


def empty(path: Path) -> None:
    os.truncate(path, 0)


def rewrite(path: Path) -> None:
    with path.open("r+b") as file:
        file.write(b"other")


CHANGES = [
    pytest.param(grow, "grew", id="it grew"),
    pytest.param(shrink, "shrank", id="it shrank"),
    pytest.param(empty, "shrank", id="it was emptied"),
    pytest.param(rewrite, "rewritten", id="it was rewritten"),
]


@pytest.mark.parametrize(("change", "word"), CHANGES)
@pytest.mark.parametrize("offset", [0, 1_000, BIG], ids=["before", "inside", "end"])
def test_a_changed_file_is_not_sent(
    photo: Path, change: Callable[[Path], None], word: str, offset: int
) -> None:
    encoder = one_file(photo)
    encoder.read_at(0, 10_000)
    change(photo)
    with pytest.raises(errors.SourceChangedError, match=word) as refused:
        encoder.read_at(offset, 1_000)
    assert refused.value.argument == "parts[0].path"


def test_the_last_byte_is_held_back_when_any_file_has_changed(photo: Path) -> None:
    encoder = one_file(photo)
    last = encoder.content_length - 1
    before = encoder.read_at(last - 1, 1)
    grow(photo)
    assert encoder.read_at(last - 1, 1) == before  # no byte of a file, and not the end
    with pytest.raises(errors.SourceChangedError):
        encoder.read_at(last, 1)


def test_a_replaced_file_is_still_the_one_that_was_opened(photo: Path) -> None:
    encoder, data = one_file(photo), photo.read_bytes()
    other = photo.with_name("other")
    other.write_bytes(b"x" * BIG)
    other.rename(photo)
    assert encoder.read_at(0, 2 * BIG) == body_of("f", "photo.jpg", data)


def test_a_missing_file_is_refused(tmp_path: Path) -> None:
    with pytest.raises(errors.SourceNotFoundError, match="File not found"):
        one_file(tmp_path / "none")
    with pytest.raises(errors.SourceNotFoundError, match="File not found"):
        one_file(tmp_path)


def test_a_file_outside_the_roots_is_refused(photo: Path, tmp_path: Path) -> None:
    root = tmp_path / "root"
    root.mkdir()
    (root / "link").symlink_to(photo)
    assert one_file(photo, roots=[str(tmp_path)]).content_length > BIG
    for path in (photo, root / "link", root / ".." / "photo.jpg"):
        with pytest.raises(errors.SecurityViolationError, match="Path outside"):
            one_file(path, roots=[str(root)])


@pytest.mark.parametrize(
    ("parts", "options", "argument"),
    [
        pytest.param([("a", "x"), ("", "y")], {}, "parts[1].name", id="an empty name"),
        pytest.param([("a\0", "x")], {}, "parts[0].name", id="NUL in a name"),
        pytest.param([("a", __file__, "", None)], {}, "parts[0].file_name", id="no file name"),
        pytest.param([("a", __file__, "\x1b", None)], {}, "parts[0].file_name", id="an escape"),
        pytest.param(
            [("a", __file__, None, "a/b\r\nX: y")], {}, "parts[0].content_type", id="a header"
        ),
        pytest.param([('a"', "x")], {"escape": "strict"}, "parts[0].name", id="strict"),
        pytest.param([], {"escape": "html"}, "escape", id="no such escape"),
        pytest.param([], {"boundary": "a\r\nb"}, "boundary", id="no such boundary"),
        pytest.param([("a", "--b")], {"boundary": "b"}, "parts[0].value", id="boundary inside"),
        pytest.param([], {"roots": [__file__]}, "roots", id="a root that is a file"),
    ],
)
def test_a_bad_argument_is_named(parts: Anything, options: Anything, argument: str) -> None:
    with pytest.raises(errors.InvalidArgumentError) as refused:
        MultipartEncoder(parts, **options)
    assert refused.value.argument == argument


def test_a_read_is_bounded() -> None:
    with pytest.raises(errors.InvalidArgumentError, match="16777216") as refused:
        MultipartEncoder([]).read_at(0, 2**24 + 1)
    assert refused.value.argument == "size"


@given(
    data=st.binary(max_size=60),
    reads=st.lists(st.tuples(st.integers(0, 300), st.integers(0, 100)), max_size=20),
)
def test_reads_in_any_order_are_slices_of_one_body(
    tmp_path_factory: pytest.TempPathFactory, data: bytes, reads: list[tuple[int, int]]
) -> None:
    path = tmp_path_factory.mktemp("reads") / "f"
    path.write_bytes(data)
    encoder, whole = one_file(path), body_of("f", "f", data)
    for offset, size in reads:
        assert encoder.read_at(offset, size) == whole[offset : offset + size]


class EncoderMachine(RuleBasedStateMachine):
    """One encoder, one file, and somebody who writes to the file while it is read."""

    @initialize(data=st.binary(min_size=1, max_size=50))
    def make(self, data: bytes) -> None:
        self.directory = Path(os.path.realpath(os.environ["OUTHAUL_TEST_DIRECTORY"]))
        self.path = self.directory / "f"
        self.path.write_bytes(data)
        os.utime(self.path, ns=(1, 1))
        self.frame = len(body_of("f", "f", b""))
        self.head = self.frame - len(f"\r\n--{BOUNDARY}--\r\n")
        self.whole = body_of("f", "f", data)
        self.encoder = one_file(self.path)
        self.changed = False

    @rule(offset=st.integers(0, 300), size=st.integers(0, 100))
    def read(self, offset: int, size: int) -> None:
        expected = self.whole[offset : offset + size]
        end = offset + len(expected)
        file_end = self.head + len(self.whole) - self.frame
        touches = max(offset, self.head) < min(end, file_end)
        if self.changed and (touches or end >= len(self.whole)):
            with pytest.raises(errors.SourceChangedError):
                self.encoder.read_at(offset, size)
        else:
            assert self.encoder.read_at(offset, size) == expected

    @precondition(lambda self: not self.changed)
    @rule(keep=st.integers(0, 49), add=st.binary(max_size=3))
    def write(self, keep: int, add: bytes) -> None:
        with self.path.open("r+b") as file:
            file.truncate(keep)
            file.seek(keep)
            file.write(add)
        self.changed = True  # the modification time is now, and no longer 1970

    @precondition(lambda self: self.changed)
    @rule()
    def open_again(self) -> None:
        os.utime(self.path, ns=(1, 1))
        self.whole = body_of("f", "f", self.path.read_bytes())
        self.encoder = one_file(self.path)
        self.changed = False


@pytest.fixture(autouse=True)
def _directory(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OUTHAUL_TEST_DIRECTORY", str(tmp_path))


TestEncoder = EncoderMachine.TestCase
