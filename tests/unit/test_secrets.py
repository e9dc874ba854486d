"""Secret references: what they hold, how they are resolved, what is said when they lead nowhere."""

from __future__ import annotations

import asyncio
import os
from typing import TYPE_CHECKING

import pytest

from outhaul import Secret
from outhaul.errors import InvalidArgumentError, SecretUnavailableError
from outhaul.secret_values import value_of
from outhaul.usercode import Threads

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
    threads = Threads(1, "test")
    try:
        return await value_of(
            ref, environ=environ or {}, providers=providers or {}, threads=threads
        )
    finally:
        threads.close()


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


LATER, NEVER = True, False


@pytest.mark.parametrize(
    ("ref", "why", "retry"),
    [
        pytest.param(Secret.env("NONE"), "env:NONE is not set", LATER, id="not set"),
        pytest.param(Secret.env("EMPTY"), "is empty", NEVER, id="an empty variable"),
        pytest.param(Secret.env("LINES"), "line break", NEVER, id="two lines"),
        pytest.param(Secret.env("CR"), "line break", NEVER, id="a lone carriage return"),
        pytest.param(Secret.env("NUL"), "line break", NEVER, id="a NUL"),
        pytest.param(Secret.env("BYTES"), "not UTF-8", NEVER, id="a variable that is no text"),
        pytest.param(Secret.file("/a\0b"), "holds a NUL", NEVER, id="a path that no system takes"),
        pytest.param(Secret.file("/nowhere/token"), "No such file", LATER, id="no such file"),
        pytest.param(Secret.file("/dev/zero"), "regular", NEVER, id="an endless file"),
        pytest.param(Secret.file("/etc"), "regular", NEVER, id="a directory"),
        pytest.param(Secret.provider("none"), "has no provider", LATER, id="no such provider"),
        pytest.param(Secret.provider("raises"), "raised RuntimeError", LATER, id="one that raises"),
        pytest.param(Secret.provider("bytes"), "is a bytes", NEVER, id="one that answers bytes"),
        pytest.param(
            Secret.provider("cancelled"), "was cancelled", LATER, id="one that is cancelled"
        ),
    ],
)
async def test_a_missing_secret_is_an_error_without_the_value(
    ref: SecretRef, why: str, *, retry: bool
) -> None:
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
    assert caught.value.retry is retry
    assert VALUE not in str(caught.value)
    assert caught.value.__cause__ is None


@pytest.mark.parametrize(
    ("content", "why", "retry"),
    [
        pytest.param(b"\xff\xfe", "not UTF-8", NEVER, id="no text"),
        pytest.param(bytes(65_537), "longer than", NEVER, id="too long"),
        pytest.param(b"", "is empty", LATER, id="one that somebody is about to write"),
    ],
)
async def test_a_file_that_no_header_can_carry_is_refused(
    tmp_path: Path, content: bytes, why: str, *, retry: bool
) -> None:
    (tmp_path / "token").write_bytes(content)
    with pytest.raises(SecretUnavailableError, match=why) as caught:
        await resolved(Secret.file(tmp_path / "token"))
    assert caught.value.retry is retry


async def test_a_pipe_that_nobody_writes_is_refused_and_keeps_no_thread(tmp_path: Path) -> None:
    path = tmp_path / "token"
    os.mkfifo(path)
    try:
        with pytest.raises(SecretUnavailableError, match="not a regular file"):
            await asyncio.wait_for(resolved(Secret.file(path)), 5)
    finally:
        os.close(os.open(path, os.O_RDWR))  # lets go whoever waits for somebody to write


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
