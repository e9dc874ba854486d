"""By which names `serve` may be called: without a token by those of its address alone."""

from __future__ import annotations

from pathlib import Path

import pytest
from tests.service.serving import a_manager, serving, status_of

TOKEN = "0123456789abcdef" * 2


@pytest.mark.parametrize(
    ("host", "status"),
    [
        pytest.param("127.0.0.1:8420", 200, id="its address"),
        pytest.param("localhost", 200, id="what this host calls itself"),
        pytest.param("[::1]:8420", 200, id="the same in IPv6"),
        pytest.param("evil.example", 421, id="a name that somebody lets mean this address"),
        pytest.param("127.0.0.1.evil.example", 421, id="one that begins like ours"),
        pytest.param("192.0.2.1", 421, id="another address"),
    ],
)
async def test_without_a_token_it_answers_to_no_other_name(
    tmp_path: Path, folder: Path, host: str, status: int
) -> None:
    """A page that somebody visits could else read what it answers (DNS rebinding)."""
    async with serving(a_manager(tmp_path / "w.db", folder)) as served:
        for path in ("/v1/stats", "/healthz"):
            assert await status_of(served.url, path, {"Host": host}) == status


async def test_with_a_token_it_answers_to_any_name(tmp_path: Path, folder: Path) -> None:
    async with serving(a_manager(tmp_path / "w.db", folder), token=TOKEN) as served:
        headers = {"Host": "any.example", "Authorization": f"Bearer {TOKEN}"}
        assert await status_of(served.url, "/v1/stats", headers) == 200
        assert await status_of(served.url, "/v1/stats", {"Host": "any.example"}) == 401
