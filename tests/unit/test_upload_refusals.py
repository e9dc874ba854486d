"""Uploads that could never arrive whole are refused when they are enqueued."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

from outhaul import NativeWorker, WorkManager
from outhaul.errors import InvalidArgumentError

URL = "https://example.com/upload"


@pytest.mark.parametrize("mime_type", ["text/plain\r\nX: y", "", " ", "a", "text/плаин"])
async def test_a_raw_body_has_a_media_type_or_none(tmp_path: Path, mime_type: str) -> None:
    (tmp_path / "a.bin").write_bytes(b"a")
    async with WorkManager(tmp_path / "work.db", run=False) as manager:
        worker = NativeWorker.http_upload(
            url=URL, file_path=tmp_path / "a.bin", body="raw", mime_type=mime_type
        )
        with pytest.raises(InvalidArgumentError) as refused:
            await manager.enqueue(None, worker)
    assert refused.value.argument == "mime_type"


@pytest.mark.skipif(sys.platform != "linux", reason="there is no /proc")
async def test_a_file_that_has_contents_but_no_size_is_refused(tmp_path: Path) -> None:
    async with WorkManager(tmp_path / "work.db", run=False) as manager:
        worker = NativeWorker.http_upload(url=URL, file_path="/proc/cpuinfo")
        with pytest.raises(InvalidArgumentError, match="no size") as refused:
            await manager.enqueue(None, worker)
    assert refused.value.argument == "file_path"
