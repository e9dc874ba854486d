"""Secret references: what they hold, how they are resolved, what is said when they lead nowhere."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

import pytest

from outhaul import Secret
from outhaul.errors import InvalidArgumentError, SecretUnavailableError
from outhaul.secrets import resolve

if TYPE_CHECKING:
    from collections.abc import Awaitable, Mapping
    from pathlib import Path

    from outhaul.secrets import Provider
    from outhaul.wire import SecretRef

VALUE = "hunter2"


async def resolved(
    ref: SecretRef,
    *,
    environ: Mapping[str, str] | None = None,
    providers: Mapping[str, Provider] | None = None,
) -> str:
    return await resolve(ref, environ=environ or {}, providers=providers or {})


def in_bytes() -> bytes:
    return VALUE.encode()


def awaitable() -> Awaitable[str]:
    return later()


def raising() -> str:
    raise RuntimeError(VALUE)


async def later() -> str:
    return VALUE


async def cancelled() -> str:
    gone = asyncio.get_running_loop().create_future()
    gone.cancel()
    await gone
    return VALUE


async def test_a_variable_is_read_with_its_prefix() -> None:
    ref = Secret.env("TOKEN", prefix="Bearer ")
    assert await resolved(ref, environ={"TOKEN": VALUE}) == "Bearer hunter2"


@pytest.mark.parametrize("ending", ["", "\n", "\r\n"], ids=["bare", "newline", "CRLF"])
async def test_a_file_is_read_without_its_newline(tmp_path: Path, ending: str) -> None:
    (tmp_path / "token").write_text(VALUE + ending, newline="")
    assert await resolved(Secret.file(tmp_path / "token")) == VALUE


@pytest.mark.parametrize(
    "provider",
    [
        pytest.param(lambda: VALUE, id="a function"),
        pytest.param(later, id="a coroutine function"),
        pytest.param(awaitable, id="a function that answers an awaitable"),
    ],
)
async def test_a_provider_is_asked(provider: Provider) -> None:
    assert await resolved(Secret.provider("vault"), providers={"vault": provider}) == VALUE


@pytest.mark.parametrize(
    ("ref", "why"),
    [
        pytest.param(Secret.env("NONE"), "env:NONE is not set", id="a variable that is not set"),
        pytest.param(Secret.env("EMPTY"), "is empty", id="an empty variable"),
        pytest.param(Secret.env("LINES"), "line break", id="two lines"),
        pytest.param(Secret.env("CR"), "line break", id="a lone carriage return"),
        pytest.param(Secret.env("NUL"), "line break", id="a NUL"),
        pytest.param(Secret.env("BYTES"), "not UTF-8", id="a variable that is no text"),
        pytest.param(Secret.file("/a\0b"), "holds a NUL", id="a path that no system takes"),
        pytest.param(Secret.provider("cancelled"), "was cancelled", id="one that is cancelled"),
        pytest.param(Secret.file("/nowhere/token"), "No such file", id="a file that is not there"),
        pytest.param(Secret.file("/dev/zero"), "longer than", id="an endless file"),
        pytest.param(Secret.provider("none"), "has no provider", id="a provider that is not there"),
        pytest.param(Secret.provider("raises"), "raised RuntimeError", id="one that raises"),
        pytest.param(Secret.provider("bytes"), "is a bytes", id="one that answers bytes"),
    ],
)
async def test_a_missing_secret_is_an_error_without_the_value(ref: SecretRef, why: str) -> None:
    with pytest.raises(SecretUnavailableError) as caught:
        await resolved(
            ref,
            environ={
                "EMPTY": "",
                "CR": "a\rb",
                "NUL": "a\0b",
                "LINES": f"{VALUE}\r\nX-Evil: 1",
                "BYTES": f"{VALUE}\udcff",  # as os.environ shows a byte that is no UTF-8
            },
            providers={
                "raises": raising,
                "bytes": in_bytes,  # type: ignore[dict-item]  # what is wrong with it
                "cancelled": cancelled,
            },
        )
    assert why in caught.value.message
    assert VALUE not in str(caught.value)
    assert caught.value.__cause__ is None


async def test_a_file_that_is_not_text_is_refused(tmp_path: Path) -> None:
    (tmp_path / "token").write_bytes(b"\xff\xfe")
    with pytest.raises(SecretUnavailableError, match="not UTF-8"):
        await resolved(Secret.file(tmp_path / "token"))


def test_a_reference_shows_where_and_never_what(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TOKEN", VALUE)
    assert repr(Secret.env("TOKEN")) == "SecretRef(source='env', name='TOKEN', prefix='')"


async def test_a_look_up_that_is_cancelled_ends_as_cancelled() -> None:
    begun = asyncio.Event()

    async def hangs() -> str:
        begun.set()
        await asyncio.Event().wait()
        return VALUE

    look_up = asyncio.ensure_future(resolved(Secret.provider("x"), providers={"x": hangs}))
    await begun.wait()
    look_up.cancel()
    with pytest.raises(asyncio.CancelledError):
        await look_up


def test_a_reference_to_nothing_is_refused() -> None:
    with pytest.raises(InvalidArgumentError, match="is empty"):
        Secret.env("")
