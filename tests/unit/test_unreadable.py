"""A file that may not be read is refused (S-171, S-307): by a process that is not root."""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
from pathlib import Path

import pytest
from tests.crash.processes import ROOT

AS_NOBODY = """
import asyncio, os, sys
from outhaul import NativeWorker, Stats, WorkManager
from outhaul.errors import SourcePermissionError
if os.getuid() == 0:
    os.setgroups([])
    os.setgid(65534)
    os.setuid(65534)

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
        command = [sys.executable, "-c", AS_NOBODY, str(Path(top, "work.db")), str(photo)]
        env = os.environ | {"PYTHONPATH": str(ROOT / "python")}
        try:
            ran = subprocess.run(command, check=True, capture_output=True, text=True, env=env)
        finally:
            folder.chmod(0o755)  # to be tidied up
    assert ran.stdout.startswith("file_path: ")
    assert "Permission denied" in ran.stdout
