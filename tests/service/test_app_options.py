"""What the application is made with: a value that means nothing is refused at once."""

from __future__ import annotations

from pathlib import Path

import pytest
from tests.service.serving import a_manager

from outhaul.errors import InvalidArgumentError
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


def test_the_least_and_the_most_are_taken(tmp_path: Path, folder: Path) -> None:
    for streams_max in (1, 100_000):
        manager = a_manager(tmp_path / "w.db", folder)
        create_app(manager, heartbeat=0.001, stall_timeout=0.001, streams_max=streams_max)
