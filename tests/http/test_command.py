"""The command line as a user meets it: a process, a store, a server."""

from __future__ import annotations

import asyncio
import json
import signal
import sys
from typing import TYPE_CHECKING

import pytest

from outhaul.testing import Answer, FlakyServer

if TYPE_CHECKING:
    from asyncio.subprocess import Process
    from collections.abc import Callable
    from pathlib import Path

pytestmark = pytest.mark.timeout(60)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "a b.jpg").write_bytes(bytes(range(256)) * 4000)
    (tmp_path / "b.jpg").write_bytes(b"b")
    return tmp_path


async def begin(folder: Path, *words: str) -> Process:
    return await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "outhaul.cli", "--db", "work.db", *words),
        cwd=folder,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
    )


async def end(process: Process) -> tuple[int | None, str, str]:
    out, err = await process.communicate()
    return process.returncode, out.decode(), err.decode()


async def command(folder: Path, *words: str) -> tuple[int | None, str, str]:
    return await end(await begin(folder, *words))


async def until(holds: Callable[[], bool]) -> None:
    while not holds():
        await asyncio.sleep(0.01)


async def test_run_until_idle_waits_for_a_retry_that_is_due_later(folder: Path) -> None:
    async with FlakyServer(script=[Answer(status=503)]) as server:
        words = ("upload", "a b.jpg", "--to", server.url, "--retry-delay", "0.7", "--detach")
        assert (await command(folder, *words))[0] == 0
        assert not server.requests
        status, out, err = await command(folder, "run", "--until-idle", "--json")
        assert server.files["a b.jpg"].times == 1
    kinds = [json.loads(line)["kind"] for line in out.splitlines()]
    assert (status, kinds) == (0, ["started", "retry_scheduled", "started", "completed"])
    assert err.startswith("outhaul: waiting for 1 task, the next due at ")
    status, out, _ = await command(folder, "list", "--status", "completed")
    assert (status, out.count("\n")) == (0, 1)


async def test_a_file_that_does_not_arrive_is_told_to_the_caller(folder: Path) -> None:
    async with FlakyServer(script=[Answer(status=401)]) as server:
        status, out, _ = await command(folder, "upload", "a b.jpg", "--to", server.url)
    assert (status, out) == (1, "failed     a b.jpg  HTTP_CLIENT_ERROR: HTTP 401 Unauthorized\n")


async def test_ctrl_c_leaves_work_that_run_goes_on_with(folder: Path) -> None:
    async with FlakyServer(script=[Answer(delay_s=30)]) as server:
        upload = await begin(folder, "upload", "a b.jpg", "b.jpg", "--to", server.url)
        assert upload.stdout is not None
        assert (await upload.stdout.readline()).startswith(b"completed")  # the other one waits
        upload.send_signal(signal.SIGINT)
        status, _, err = await end(upload)
        assert (status, err.count("\n")) == (130, 1)
        assert err.startswith("outhaul: interrupted: the work is safe in work.db")
        assert (await command(folder, "run", "--until-idle"))[0] == 0
        assert {name: file.times for name, file in server.files.items()} == {
            "a b.jpg": 1,
            "b.jpg": 1,
        }


async def test_cancel_reaches_the_process_that_runs(folder: Path) -> None:
    async with FlakyServer(script=[Answer(delay_s=30)]) as server:
        upload = await begin(folder, "upload", "a b.jpg", "--to", server.url, "--tag", "photos")
        await until(lambda: any(request.complete for request in server.requests))
        status, out, _ = await command(folder, "cancel", "--tag", "photos")
        assert (status, out) == (0, "cancelled 1 task\n")
        status, out, _ = await end(upload)
        assert (status, out.split()[:3]) == (1, ["cancelled", "a", "b.jpg"])
