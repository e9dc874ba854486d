"""NativeWorker and PythonWorker: what they accept, what they refuse, what they put on the wire."""

from __future__ import annotations

from datetime import timedelta
from pathlib import Path
from typing import Any

import msgspec
import pytest

from outhaul import NativeWorker, PythonWorker, Secret
from outhaul.errors import InvalidArgumentError, InvalidTypeError, OuthaulError

URL = "https://api.example.com/upload"


def upload(**changes: object) -> NativeWorker:
    arguments: dict[str, Any] = {"url": URL, "file_path": "/data/a.jpg", **changes}
    return NativeWorker.http_upload(**arguments)


def test_an_upload_says_everything_on_the_wire() -> None:
    worker = upload(
        method="PUT",
        field_name="photo",
        file_name="b.jpg",
        mime_type="image/jpeg",
        headers={"Authorization": Secret.env("TOKEN", prefix="Bearer "), "X-Id": "7"},
        fields=[("album", "2024"), ("album", "all")],
        stall_timeout=1.5,
    )
    assert msgspec.to_builtins(worker.wire) == [
        "http_upload",
        URL,
        "/data/a.jpg",
        "PUT",
        "multipart",
        "photo",
        "b.jpg",
        "image/jpeg",
        [("Authorization", ["env", "TOKEN", "Bearer "]), ("X-Id", "7")],
        [("album", "2024"), ("album", "all")],
        10_000,
        1_500,
        300_000,
    ]


@pytest.mark.parametrize(
    ("given", "stored"),
    [
        pytest.param("/data/a.jpg", "/data/a.jpg", id="an absolute path stays"),
        pytest.param(Path("/data/a.jpg"), "/data/a.jpg", id="a Path is a path"),
        pytest.param("a.jpg", str(Path.cwd() / "a.jpg"), id="a relative path is completed"),
        pytest.param("/data/./x/../a.jpg", "/data/a.jpg", id="dots are folded"),
        pytest.param("/data/a/", "/data/a", id="a slash at the end goes"),
        pytest.param("/data//a.jpg", "/data/a.jpg", id="double slashes are folded"),
        pytest.param("/data/.hidden", "/data/.hidden", id="a hidden file keeps its dot"),
        pytest.param("/data/été.jpg", "/data/été.jpg", id="UTF-8 is fine"),
    ],
)
def test_a_path_is_made_absolute(given: object, stored: str) -> None:
    assert upload(file_path=given).wire.file_path == stored


def test_links_are_not_followed(tmp_path: Path) -> None:
    link = tmp_path / "link"
    link.symlink_to("elsewhere")
    assert upload(file_path=link).wire.file_path == str(link)


@pytest.mark.parametrize(
    ("changes", "error", "argument", "fix"),
    [
        pytest.param({"url": None}, InvalidTypeError, "url", "a string", id="no URL"),
        pytest.param({"url": b"x"}, InvalidTypeError, "url", "a string", id="a URL in bytes"),
        pytest.param(
            {"url": "h\ud800"}, InvalidArgumentError, "url", "UTF-8", id="half a surrogate"
        ),
        pytest.param(
            {"file_path": ""}, InvalidArgumentError, "file_path", "path", id="an empty path"
        ),
        pytest.param(
            {"file_path": 3}, InvalidTypeError, "file_path", "Path", id="a number as path"
        ),
        pytest.param(
            {"file_path": b"/a"}, InvalidTypeError, "file_path", "Path", id="a path in bytes"
        ),
        pytest.param(
            {"file_path": "/a\udcff"},
            InvalidArgumentError,
            "file_path",
            "UTF-8",
            id="a path that is not UTF-8",
        ),
        pytest.param(
            {"method": "GET"}, InvalidArgumentError, "method", "POST, PUT", id="another method"
        ),
        pytest.param(
            {"method": 1}, InvalidTypeError, "method", "a string", id="a number as method"
        ),
        pytest.param(
            {"body": "json"}, InvalidArgumentError, "body", "multipart, raw", id="another body"
        ),
        pytest.param(
            {"field_name": 5}, InvalidTypeError, "field_name", "string", id="a number as field"
        ),
        pytest.param(
            {"field_name": "a", "file_field_name": "b"},
            InvalidArgumentError,
            "file_field_name",
            "one of them",
            id="two names for the field",
        ),
        pytest.param(
            {"headers": "X: y"}, InvalidTypeError, "headers", "mapping", id="headers as text"
        ),
        pytest.param(
            {"headers": {"X": "\ud800"}},
            InvalidArgumentError,
            'headers["X"]',
            "UTF-8",
            id="half a surrogate in a header",
        ),
        pytest.param(
            {"headers": [("a",)]}, InvalidTypeError, "headers", "pairs", id="a header of one"
        ),
        pytest.param(
            {"headers": {1: "a"}},
            InvalidTypeError,
            "headers",
            "string",
            id="a number as header name",
        ),
        pytest.param(
            {"headers": {"X": 1}},
            InvalidTypeError,
            'headers["X"]',
            "Secret",
            id="a number as header value",
        ),
        pytest.param(
            {"fields": {"x": None}}, InvalidTypeError, 'fields["x"]', "string", id="an empty field"
        ),
        pytest.param(
            {"connect_timeout": 0}, InvalidArgumentError, "connect_timeout", "0.001", id="no time"
        ),
        pytest.param(
            {"stall_timeout": -1.0}, InvalidArgumentError, "stall_timeout", "at least", id="less"
        ),
        pytest.param(
            {"stall_timeout": True},
            InvalidTypeError,
            "stall_timeout",
            "seconds",
            id="a bool as time",
        ),
        pytest.param(
            {"response_timeout": float("nan")},
            InvalidArgumentError,
            "response_timeout",
            "10 years",
            id="NaN",
        ),
        pytest.param(
            {"file_pth": "/a"}, InvalidTypeError, "file_pth", "did you mean file_path", id="a typo"
        ),
        pytest.param(
            {"colour": "red"}, InvalidTypeError, "colour", "there are url", id="no such argument"
        ),
    ],
)
def test_bad_input_is_one_typed_error_that_names_the_argument(
    changes: dict[str, Any], error: type[OuthaulError], argument: str, fix: str
) -> None:
    with pytest.raises(error) as caught:
        upload(**changes)
    assert caught.value.argument == argument
    assert fix in caught.value.message


def test_a_type_error_does_not_repeat_the_value() -> None:
    with pytest.raises(InvalidTypeError) as caught:
        upload(headers={"Authorization": b"Bearer hunter2"})
    assert "hunter2" not in str(caught.value)


def test_the_upstream_name_of_the_field_works() -> None:
    assert upload(file_field_name="photo") == upload(field_name="photo")


@pytest.mark.parametrize(
    "time", [2, 2.0, timedelta(seconds=2), 1.9995], ids=["int", "float", "timedelta", "rounded up"]
)
def test_a_time_is_a_timedelta_or_seconds(time: object) -> None:
    assert upload(connect_timeout=time).wire.connect_timeout_ms == 2_000


@pytest.mark.parametrize(("seconds", "milliseconds"), [(0.1, 100), (2.007, 2_007), (0.0011, 2)])
def test_a_fraction_is_rounded_up_but_not_by_the_noise_of_floats(
    seconds: float, milliseconds: int
) -> None:
    assert upload(connect_timeout=seconds).wire.connect_timeout_ms == milliseconds


def test_a_repr_shows_no_credential() -> None:
    worker = upload(
        url="https://user:hunter2@example.com/a/b?sig=hunter2#hunter2",
        headers={"X-Api": "hunter2"},
        fields={"password": "hunter2"},
    )
    assert repr(worker) == (
        "NativeWorker(http_upload(url='https://example.com/a/b', file_path='/data/a.jpg'))"
    )


@pytest.mark.parametrize(
    ("url", "shown"),
    [
        ("https://user:hunter2#@example.com/", "(no address)"),
        ("https://user:hun/ter2@example.com/", "(no address)"),
        ("https://user:hun?ter2@example.com/", "(no address)"),
        ("https://hun/ter2@example.com/", "(no address)"),
        ("https://example.com:8443/b", "https://example.com:8443/b"),
        ("example.com", "(no address)"),
    ],
)
def test_an_address_that_may_hold_a_password_is_not_shown(url: str, shown: str) -> None:
    assert f"url={shown!r}," in repr(upload(url=url))


def test_equal_workers_are_equal_and_hash_alike() -> None:
    assert upload() == upload()
    assert hash(upload()) == hash(upload())
    assert upload() != upload(method="PUT")
    assert upload() != "a worker"


def test_the_input_is_taken_when_the_worker_is_made() -> None:
    given = {"ids": [1, 2]}
    worker = PythonWorker("thumbnail", given)
    given["ids"].append(3)
    assert msgspec.msgpack.decode(worker.wire.input) == {"ids": [1, 2]}


@pytest.mark.parametrize(
    ("arguments", "error", "argument", "fix"),
    [
        pytest.param(
            {"callback_id": 1}, InvalidTypeError, "callback_id", "string", id="a number as name"
        ),
        pytest.param(
            {"input": object()}, InvalidTypeError, "input", "lists, dicts", id="any object"
        ),
        pytest.param(
            {"input": 2**64}, InvalidArgumentError, "input", "stored", id="a number beyond 64 bits"
        ),
        pytest.param(
            {"input": "\ud800"}, InvalidArgumentError, "input", "stored", id="half a surrogate"
        ),
        pytest.param(
            {"input": b"x" * 2**20}, InvalidArgumentError, "input", "file", id="too large"
        ),
        pytest.param({"imput": 1}, InvalidTypeError, "imput", "did you mean input", id="a typo"),
    ],
)
def test_bad_callback_input_is_one_typed_error(
    arguments: dict[str, Any], error: type[OuthaulError], argument: str, fix: str
) -> None:
    with pytest.raises(error) as caught:
        PythonWorker(**{"callback_id": "thumbnail", **arguments})
    assert caught.value.argument == argument
    assert fix in caught.value.message


def test_an_input_that_holds_itself_is_refused() -> None:
    endless: list[object] = []
    endless.append(endless)
    with pytest.raises(InvalidArgumentError) as caught:
        PythonWorker("thumbnail", endless)
    assert caught.value.argument == "input"
