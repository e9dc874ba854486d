"""The command line as a user meets it: a process, a store, a server."""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import pty
import signal
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from outhaul import PythonWorker, WorkManager
from outhaul.testing import Answer, FlakyServer

if TYPE_CHECKING:
    from asyncio.subprocess import Process
    from collections.abc import Callable

pytestmark = pytest.mark.timeout(60)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "a b.jpg").write_bytes(bytes(range(256)) * 4000)
    (tmp_path / "b.jpg").write_bytes(b"b")
    return tmp_path


PROGRAM = (sys.executable, "-m", "outhaul.cli", "--db", "work.db")


async def begin(folder: Path, *words: str, within: tuple[str, ...] = (), **environ: str) -> Process:
    return await asyncio.create_subprocess_exec(
        *(*within, *PROGRAM, *words),
        cwd=folder,
        env={**os.environ, **environ},
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
    )


# What a full disk says.
FULL = ("sh", "-c", 'exec "$@" >/dev/full', "sh")


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
        status, out, err = await command(folder, "upload", "a b.jpg", "--to", server.url)
    assert (status, out) == (1, "failed     a b.jpg  HTTP_CLIENT_ERROR: HTTP 401 Unauthorized\n")
    assert err == ""  # once is enough


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


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGHUP])
async def test_a_supervisor_that_ends_it_is_told_that_the_work_is_safe(
    folder: Path, number: signal.Signals
) -> None:
    async with FlakyServer(script=[Answer(delay_s=30)]) as server:
        upload = await begin(folder, "upload", "b.jpg", "--to", server.url)
        await server.wait_requests()
        upload.send_signal(number)
        status, _, err = await end(upload)
    assert (status, err.count("\n")) == (128 + number, 1)
    assert err.startswith("outhaul: interrupted: the work is safe in work.db")


async def test_a_terminal_gets_its_cursor_back(folder: Path) -> None:
    ours, theirs = pty.openpty()
    async with FlakyServer(script=[Answer(delay_s=30)]) as server:
        process = await asyncio.create_subprocess_exec(
            *(*PROGRAM, "upload", "b.jpg", "--to", server.url),
            cwd=folder,
            env={**os.environ, "TERM": "xterm"},
            stdout=theirs,
            stderr=theirs,
        )
        os.close(theirs)
        said = b""
        while b"\x1b[?25l" not in said:
            said += await asyncio.to_thread(os.read, ours, 65536)
        process.send_signal(signal.SIGTERM)
        assert await process.wait() == 143
    with contextlib.suppress(OSError):  # which is how the other end of a terminal says it is gone
        while more := os.read(ours, 65536):
            said += more
    os.close(ours)
    assert said.count(b"\x1b[?25l") == said.count(b"\x1b[?25h") == 1
    assert b"interrupted: the work is safe" in said.rpartition(b"\x1b[?25h")[2]


async def test_ctrl_c_that_is_pressed_twice_is_as_one(folder: Path) -> None:
    async with FlakyServer(script=[Answer(delay_s=30)]) as server:
        upload = await begin(folder, "upload", "b.jpg", "--to", server.url)
        await server.wait_requests()
        upload.send_signal(signal.SIGINT)
        await asyncio.sleep(0.005)
        with contextlib.suppress(ProcessLookupError):
            os.kill(upload.pid, signal.SIGINT)  # `send_signal` may take its status first
        status, _, err = await end(upload)
    assert (status, err.count("\n")) == (130, 1)


async def test_ctrl_c_before_anything_has_begun_leaves_no_traceback(folder: Path) -> None:
    program = (
        "import os, signal, sys, outhaul.cli\n"
        "sys.meta_path.insert(0, type('', (), {'find_spec': staticmethod(lambda name, *_: "
        "os.kill(os.getpid(), signal.SIGINT) if name == 'typer' else None)}))\n"
        "outhaul.cli.main()\n"
    )
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-c", program, "list"),
        cwd=folder,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
    )
    assert await end(process) == (130, "", "")


@pytest.mark.parametrize(("words", "status"), [(("--version",), 0), (("list",), 2)])
async def test_a_thread_that_hangs_holds_up_no_end(
    folder: Path, words: tuple[str, ...], status: int
) -> None:
    program = (
        "import concurrent.futures, threading, outhaul.cli\n"
        "concurrent.futures.ThreadPoolExecutor().submit(threading.Event().wait)\n"
        "outhaul.cli.main()\n"
    )
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-c", program, *words),
        cwd=folder,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
    )
    try:
        async with asyncio.timeout(20):
            ended, out, err = await end(process)
    finally:
        with contextlib.suppress(ProcessLookupError):
            process.kill()
    assert (ended, out.startswith("outhaul "), bool(err)) == (status, status == 0, status == 2)


CANNOT = "outhaul: cannot write the output: No space left on device"


@pytest.mark.parametrize(
    "words", [("--version",), ("--help",), ("list",), ("list", "--help"), ("bench", "--help")]
)
@pytest.mark.skipif(not Path("/dev/full").exists(), reason="only Linux has such a device")
async def test_an_output_that_cannot_be_written_is_said_in_a_line(
    folder: Path, words: tuple[str, ...]
) -> None:
    async with WorkManager(folder / "work.db", workers="elsewhere", run=False) as manager:
        await manager.enqueue("x", PythonWorker("nobody"))
    status, _, err = await end(await begin(folder, *words, within=FULL))
    assert (status, err) == (1, f"{CANNOT}\n")


@pytest.mark.parametrize("words", [("--version",), ("bench", "--help")])
async def test_a_reader_that_has_seen_enough_is_told_nothing(
    folder: Path, words: tuple[str, ...]
) -> None:
    ours, theirs = os.pipe()
    os.close(ours)
    process = await asyncio.create_subprocess_exec(
        *PROGRAM, *words, cwd=folder, stdout=theirs, stderr=asyncio.subprocess.PIPE
    )
    os.close(theirs)
    _, err = await process.communicate()
    assert (process.returncode, err) == (1, b"")


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="only Linux has such a device")
async def test_work_that_is_stored_is_safe_though_nobody_can_be_told(folder: Path) -> None:
    async with FlakyServer() as server:
        words = ("upload", "b.jpg", "--to", server.url)
        for verb in (words, (*words, "--detach"), ("run", "--until-idle")):
            status, _, err = await end(await begin(folder, *verb, within=FULL))
            first, second = err.splitlines()
            assert (status, first) == (1, CANNOT)
            assert second.startswith("outhaul: the work is safe in work.db; ")


async def test_cancel_reaches_the_process_that_runs(folder: Path) -> None:
    async with FlakyServer(script=[Answer(delay_s=30)]) as server:
        upload = await begin(folder, "upload", "a b.jpg", "--to", server.url, "--tag", "photos")
        await until(lambda: any(request.complete for request in server.requests))
        status, out, _ = await command(folder, "cancel", "--tag", "photos")
        assert (status, out) == (0, "cancelled 1 task\n")
        status, out, _ = await end(upload)
        assert (status, out.split()[:3]) == (1, ["cancelled", "a", "b.jpg"])


async def test_ctrl_c_before_the_work_is_stored_promises_nothing(folder: Path) -> None:
    asked = asyncio.Event()

    async def never_answers(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        asked.set()
        await reader.read()  # until it goes
        writer.close()

    async with await asyncio.start_server(never_answers, "127.0.0.1", 0) as server:
        url = f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}"
        words = ("--server", url, "upload", "b.jpg", "--to", "https://example.com/")
        upload = await begin(folder, *words)
        await asked.wait()
        upload.send_signal(signal.SIGINT)
        status, _, err = await end(upload)
    assert (status, "safe" in err, "give the command again" in err) == (130, False, True)


@pytest.mark.parametrize("closed", ["<&-", ">&-", "2>&-", "<&- >&- 2>&-"])
async def test_a_closed_standard_stream_leads_nowhere_and_breaks_nothing(
    folder: Path, closed: str
) -> None:
    shell = ("sh", "-c", f'exec "$@" {closed}', "sh")
    async with FlakyServer() as server:
        words = ("upload", "b.jpg", "--to", server.url)
        status, _, err = await end(await begin(folder, *words, within=shell))
        assert (status, err) == (0, "")
        assert server.files["b.jpg"].times == 1


async def test_a_name_that_the_locale_lacks_is_written_all_the_same(folder: Path) -> None:
    (folder / "写真.jpg").write_bytes(b"c")
    async with FlakyServer() as server:
        words = ("upload", "写真.jpg", "--to", server.url)
        upload = await begin(folder, *words, PYTHONIOENCODING="latin-1")
        assert await end(upload) == (0, "completed  ??.jpg\n", "")
        upload = await begin(folder, *words, "--json", PYTHONIOENCODING="latin-1")
        status, out, _ = await end(upload)
    assert (status, json.loads(out.splitlines()[-1])["file"]) == (0, "写真.jpg")
