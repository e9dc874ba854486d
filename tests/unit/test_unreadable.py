"""A file that may not be read is refused (S-171, S-307): by a process that is not root."""

from __future__ import annotations

import tempfile
from pathlib import Path

import pytest
from tests.crash.processes import said_by_nobody

ENQUEUEING = """
from outhaul import NativeWorker, Stats, WorkManager
from outhaul.errors import SourcePermissionError

async def main():
    worker = NativeWorker.http_upload(url="https://127.0.0.1:9/", file_path=sys.argv[2])
    async with WorkManager(sys.argv[1]) as manager:
        try:
            await manager.enqueue("x", worker)
        except SourcePermissionError as error:
            print(error)
        assert await manager.stats() == Stats()

asyncio.run(main())
"""


@pytest.mark.parametrize(
    ("folder_mode", "file_mode"),
    [
        pytest.param(0o755, 0o000, id="a file that may not be read"),
        pytest.param(0o644, 0o644, id="a directory that may not be entered"),
    ],
)
def test_what_may_not_be_read_is_refused_and_nothing_is_stored(
    folder_mode: int, file_mode: int
) -> None:
    # Not in tmp_path, which is root's alone.
    with tempfile.TemporaryDirectory() as top:
        Path(top).chmod(0o777)
        folder = Path(top, "photos")
        folder.mkdir()
        photo = folder / "photo.jpg"
        photo.write_bytes(b"hello")
        photo.chmod(file_mode)
        folder.chmod(folder_mode)
        try:
            said = said_by_nobody(ENQUEUEING, str(Path(top, "work.db")), str(photo))
        finally:
            folder.chmod(0o755)  # to be tidied up
    assert said.startswith("file_path: ")
    assert "Permission denied" in said
