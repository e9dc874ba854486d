"""Our bodies as eight independent parsers read them: the frame never differs, the rest as known."""

import asyncio
import email
import email.policy
import io
import re
import tempfile
from collections import Counter
from collections.abc import AsyncGenerator, Callable, Sequence
from pathlib import Path
from typing import NamedTuple

import aiohttp
import django.conf  # type: ignore[import-untyped]
import multipart  # type: ignore[import-untyped]
import pytest
import python_multipart
import starlette.datastructures
import starlette.formparsers
import streaming_form_data  # type: ignore[import-untyped]
import streaming_form_data.targets  # type: ignore[import-untyped]
import werkzeug.formparser
from aiohttp.base_protocol import BaseProtocol
from django.core.files.uploadhandler import MemoryFileUploadHandler  # type: ignore[import-untyped]
from django.http.multipartparser import MultiPartParser as DjangoParser  # type: ignore[import-untyped]
from hypothesis import assume, given
from hypothesis import strategies as st
from multidict import CIMultiDict

from outhaul._native import MultipartEncoder

if not django.conf.settings.configured:
    django.conf.settings.configure(DATA_UPLOAD_MAX_NUMBER_FIELDS=None)


class Part(NamedTuple):
    """One part, as given to the encoder or as found by a parser. A field has no file name."""

    name: str
    data: bytes
    file_name: str | None = None


Parser = Callable[[str, bytes], list[Part]]


def by_python_multipart(content_type: str, body: bytes) -> list[Part]:
    found: list[Part] = []

    def on_field(field: python_multipart.multipart.Field) -> None:
        found.append(Part(text(field.field_name), field.value or b""))

    def on_file(file: python_multipart.multipart.File) -> None:
        file.file_object.seek(0)
        name, data = text(file.field_name), file.file_object.read()
        found.append(Part(name, data, text(file.file_name)))
        file.close()

    headers = {"Content-Type": content_type.encode(), "Content-Length": str(len(body)).encode()}
    python_multipart.parse_form(headers, io.BytesIO(body), on_field, on_file)
    return found


def by_multipart(content_type: str, body: bytes) -> list[Part]:
    _, options = multipart.parse_options_header(content_type)
    parser = multipart.MultipartParser(io.BytesIO(body), options["boundary"], strict=True)
    found = []
    for part in parser.parts():
        found.append(Part(part.name, part.raw, part.filename))
        part.close()
    return found


def by_werkzeug(content_type: str, body: bytes) -> list[Part]:
    environ = {
        "wsgi.input": io.BytesIO(body),
        "CONTENT_LENGTH": str(len(body)),
        "CONTENT_TYPE": content_type,
        "REQUEST_METHOD": "POST",
    }
    _, fields, files = werkzeug.formparser.parse_form_data(environ, silent=False)
    found = [Part(name, value.encode()) for name, value in fields.items(multi=True)]
    for name, file in files.items(multi=True):
        found.append(Part(name, file.stream.read(), file.filename))
        file.close()
    return found


def by_starlette(content_type: str, body: bytes) -> list[Part]:
    async def stream() -> AsyncGenerator[bytes, None]:
        yield body

    async def parse() -> list[Part]:
        headers = starlette.datastructures.Headers({"content-type": content_type})
        form = await starlette.formparsers.MultiPartParser(headers, stream()).parse()
        found = []
        for name, value in form.multi_items():
            if isinstance(value, str):
                found.append(Part(name, value.encode()))
            else:
                found.append(Part(name, await value.read(), value.filename))
        await form.close()
        return found

    return asyncio.run(parse())


def by_django(content_type: str, body: bytes) -> list[Part]:
    meta = {"CONTENT_TYPE": content_type, "CONTENT_LENGTH": len(body)}
    handler = MemoryFileUploadHandler()
    handler.activated = True
    fields, files = DjangoParser(meta, io.BytesIO(body), [handler], "utf-8").parse()
    found = [Part(name, value.encode()) for name, values in fields.lists() for value in values]
    return found + [
        Part(name, file.read(), file.name) for name, values in files.lists() for file in values
    ]


def by_aiohttp(content_type: str, body: bytes) -> list[Part]:
    async def parse() -> list[Part]:
        stream = aiohttp.StreamReader(BaseProtocol(asyncio.get_running_loop()), limit=2**30)
        stream.feed_data(body)
        stream.feed_eof()
        reader = aiohttp.MultipartReader(CIMultiDict({"Content-Type": content_type}), stream)
        found = []
        while (part := await reader.next()) is not None:
            assert isinstance(part, aiohttp.BodyPartReader)
            found.append(Part(part.name or "", bytes(await part.read()), part.filename))
        return found

    return asyncio.run(parse())


def by_email(content_type: str, body: bytes) -> list[Part]:
    # It decodes headers before they can be looked at, unless each byte is a character.
    whole = f"Content-Type: {content_type}\r\n\r\n" + body.decode("latin-1")
    message = email.message_from_string(whole, policy=email.policy.compat32)
    found = []
    for part in message.walk():
        name = part.get_param("name", header="content-disposition")
        if name is not None:
            file_name = part.get_param("filename", header="content-disposition")
            data = str(part.get_payload()).encode("latin-1")
            found.append(Part(from_latin(name), data, file_name and from_latin(file_name)))
    return found


def by_streaming_form_data(names: Sequence[str], content_type: str, body: bytes) -> list[Part]:
    parser = streaming_form_data.StreamingFormDataParser({"Content-Type": content_type})
    targets = [(name, streaming_form_data.targets.ValueTarget()) for name in names]
    for name, target in targets:
        parser.register(name, target)
    parser.data_received(body)
    return [Part(name, target.value, target.multipart_filename) for name, target in targets]


def text(raw: bytes | None) -> str:
    return (raw or b"").decode()


def from_latin(characters: object) -> str:
    return str(characters).encode("latin-1").decode()


PARSERS: dict[str, Parser] = {
    "aiohttp": by_aiohttp,
    "django": by_django,
    "email": by_email,
    "multipart": by_multipart,
    "python_multipart": by_python_multipart,
    "starlette": by_starlette,
    "werkzeug": by_werkzeug,
}


class Body(NamedTuple):
    """An encoded body."""

    content_type: str
    data: bytes


def encode(parts: Sequence[Part], escape: str = "html5") -> Body:
    with tempfile.TemporaryDirectory() as directory:
        given: list[tuple[str, str] | tuple[str, str, str | None, str | None]] = []
        for number, part in enumerate(parts):
            if part.file_name is None:
                given.append((part.name, part.data.decode()))
            else:
                path = Path(directory, str(number))
                path.write_bytes(part.data)
                given.append((part.name, str(path), part.file_name, None))
        encoder = MultipartEncoder(given, escape=escape)
        assert encoder.content_type is not None
        return Body(encoder.content_type, encoder.read_at(0, encoder.content_length))


def normalised(part: Part) -> Part:
    if part.file_name is not None:
        return part
    return part._replace(data=re.sub(rb"\r\n|\r|\n", b"\r\n", part.data))


def frame(parts: Sequence[Part]) -> Counter[tuple[bytes, bool]]:
    return Counter((part.data, part.file_name is None) for part in parts)


plain = st.text("abÄ日😀 %=,.'()[]{}:-_+&", min_size=1, max_size=8).map(lambda name: f"x{name}x")
hostile = st.text('ab\\\\""\r\n\t%2= é日', min_size=1, max_size=8)
values = st.one_of(
    st.text(max_size=20), st.text("\r\n-a", max_size=12), st.just("--"), st.just("\r\n--x--\r\n")
)
contents = st.one_of(
    st.binary(max_size=30),
    st.sampled_from([b"", b"\r\n", b"\r\n--", b"--", b"\r", b"\n\r\n--x--\r\n"]),
)


def parts_of(names: st.SearchStrategy[str], *, max_size: int = 5) -> st.SearchStrategy[list[Part]]:
    field = st.builds(Part, names, values.map(str.encode), st.none())
    file = st.builds(Part, names, contents, names)
    return st.lists(st.one_of(field, file), max_size=max_size)


@pytest.mark.parametrize("parser", PARSERS.values(), ids=PARSERS)
@given(parts=parts_of(plain))
def test_plain_names_and_all_bytes_arrive_as_they_were(parser: Parser, parts: list[Part]) -> None:
    expected = Counter(map(normalised, parts))
    assert Counter(parser(*encode(parts))) == expected


def is_nameless_to_django(part: Part) -> bool:
    """Django skips a file whose name has nothing to print after its last backslash."""
    base = (part.file_name or "x").rpartition("\\")[2]
    return base != "" and not any(map(str.isprintable, base))


@pytest.mark.parametrize("escape", ["html5", "backslash", "percent"])
@pytest.mark.parametrize("parser", PARSERS.values(), ids=PARSERS)
@given(parts=parts_of(hostile.map(lambda name: f"x{name}"), max_size=3))
def test_no_name_moves_the_frame(parser: Parser, escape: str, parts: list[Part]) -> None:
    assume(parser is not by_django or not any(map(is_nameless_to_django, parts)))
    expected = [normalised(part) for part in parts]
    assert frame(parser(*encode(parts, escape))) == frame(expected)


@given(parts=st.lists(st.tuples(hostile, contents), max_size=4))
def test_no_file_name_moves_the_frame_of_streaming_form_data(
    parts: list[tuple[str, bytes]],
) -> None:
    given = [Part(f"f{n}", data, name) for n, (name, data) in enumerate(parts)]
    found = by_streaming_form_data([part.name for part in given], *encode(given))
    assert frame(found) == frame(given)


@pytest.mark.parametrize("parser", PARSERS.values(), ids=PARSERS)
def test_a_file_larger_than_any_buffer_arrives_whole(parser: Parser) -> None:
    data = b"\r\n--outhaul-\r\n" * 20_000
    found = parser(*encode([Part("f", data, "f"), Part("after", b"x")]))
    assert frame(found) == Counter({(data, False): 1, (b"x", True): 1})


ORDERED = ["aiohttp", "email", "multipart", "python_multipart", "starlette"]


@pytest.mark.parametrize("name", ORDERED)
@given(parts=parts_of(plain))
def test_parts_arrive_in_their_order(name: str, parts: list[Part]) -> None:
    assert PARSERS[name](*encode(parts)) == [normalised(part) for part in parts]


def file_names(file_name: str, escape: str) -> dict[str, str | None]:
    body = encode([Part("f", b"data", file_name)], escape)
    parts = {name: parser(*body) for name, parser in PARSERS.items()}
    parts["streaming"] = by_streaming_form_data(["f"], *body)
    return {name: found[0].file_name for name, found in parts.items()}


EVERYWHERE = [*PARSERS, "streaming"]
DECODE_QUOTE = ["multipart", "werkzeug"]  # they take %22 for a quote
DROP_BACKSLASH = ["aiohttp", "streaming", "werkzeug"]  # a quoted pair of anything


def known(file_name: str, escape: str, seen: str, **exceptions: str | None) -> object:
    """One row: what a name is seen as, and by whom otherwise."""
    names = dict.fromkeys(EVERYWHERE, seen) | exceptions
    return pytest.param(file_name, escape, names, id=f"{escape} {file_name!r}")


@pytest.mark.parametrize(
    ("file_name", "escape", "names"),
    [
        known("naïve-日本", "html5", "naïve-日本"),
        known("naïve", "percent", "na%C3%AFve"),
        known("a b;c=d", "html5", "a b;c=d"),
        known("a b", "percent", "a%20b"),
        known("a;;b", "percent", "a%3B%3Bb"),
        known('a"b', "html5", "a%22b", **dict.fromkeys(DECODE_QUOTE, 'a"b')),
        known('a"b', "backslash", 'a"b'),
        known("%22", "html5", "%22", **dict.fromkeys(DECODE_QUOTE, '"')),
        known("a\r\nb", "html5", "a%0D%0Ab", multipart="a\r\nb"),
        known("a\r\nb", "backslash", "a%0D%0Ab", multipart="a\r\nb"),
        known("a\\b", "html5", "a\\b", **dict.fromkeys(DROP_BACKSLASH, "ab"), django="b"),
        known("a\\b", "backslash", "a\\b", multipart="a\\\\b", django="b"),
        known("ab\\", "html5", "ab%5C"),
        known("ab\\\\", "html5", "ab\\%5C", **dict.fromkeys(DROP_BACKSLASH, "ab%5C"), django="%5C"),
        known("ab\\\\", "backslash", "ab\\%5C", multipart="ab\\\\%5C", django="%5C"),
        known("../../x", "html5", "../../x", django="x"),
        known("a\tb", "html5", "a\tb", django="ab"),
    ],
)
def test_a_file_name_is_seen_as_known(
    file_name: str, escape: str, names: dict[str, str | None]
) -> None:
    assert file_names(file_name, escape) == names


def test_aiohttp_alone_gives_up_on_a_header_with_two_semicolons_in_a_name() -> None:
    body = encode([Part("f", b"data", "a;;b")])
    for name, parser in PARSERS.items():
        if parser is not by_aiohttp:
            assert parser(*body) == [Part("f", b"data", "a;;b")], name
    with pytest.warns(aiohttp.multipart.BadContentDispositionHeader):
        assert by_aiohttp(*body) == [Part("", b"data")]
