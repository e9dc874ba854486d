"""What the application is made with: a value that means nothing is refused at once."""

from __future__ import annotations

from pathlib import Path

import pytest
from tests.service.serving import a_manager

from outhaul.errors import InvalidArgumentError, InvalidTypeError, OuthaulError
from outhaul.service import create_app


@pytest.mark.parametrize(
    ("argument", "value"),
    [
        pytest.param("heartbeat", 0, id="a heartbeat without an end"),
        pytest.param("heartbeat", -1, id="a heartbeat in the past"),
        pytest.param("stall_timeout", 0, id="no time to read"),
        pytest.param("streams_max", 0, id="no stream at all"),
        pytest.param("streams_max", 100_001, id="more than a process has files"),
    ],
)
def test_an_option_that_means_nothing_is_refused(
    tmp_path: Path, folder: Path, argument: str, value: int
) -> None:
    with pytest.raises(InvalidArgumentError) as refused:
        create_app(a_manager(tmp_path / "w.db", folder), **{argument: value})  # type: ignore[arg-type]  # one of several
    assert refused.value.argument == argument


@pytest.mark.parametrize(
    ("argument", "value", "error"),
    [
        pytest.param("trusted", "false", InvalidTypeError, id="text is true, whatever it says"),
        pytest.param("trusted", 0, InvalidTypeError, id="a number"),
        pytest.param("hosts", [b"example.com"], InvalidTypeError, id="bytes for a host"),
        pytest.param("hosts", "example.com", InvalidTypeError, id="one host and no list"),
        pytest.param("allow_secrets", [7], InvalidTypeError, id="a number for a secret"),
        pytest.param("allow_secrets", [""], InvalidArgumentError, id="a secret without a name"),
        pytest.param("allow_secrets", ["env:"], InvalidArgumentError, id="a source alone"),
        pytest.param("allow_secrets", "env:X", InvalidTypeError, id="one secret and no list"),
    ],
)
def test_what_guards_the_service_is_what_it_says(
    tmp_path: Path, folder: Path, argument: str, value: object, error: type[OuthaulError]
) -> None:
    with pytest.raises(error) as refused:
        create_app(a_manager(tmp_path / "w.db", folder), **{argument: value})  # type: ignore[arg-type]  # what is tested
    assert refused.value.argument == argument


def test_the_least_and_the_most_are_taken(tmp_path: Path, folder: Path) -> None:
    for streams_max in (1, 100_000):
        manager = a_manager(tmp_path / "w.db", folder)
        create_app(manager, heartbeat=0.001, stall_timeout=0.001, streams_max=streams_max)
