"""`outhaul serve`: how it begins, how it ends, and the command line against it."""

from __future__ import annotations

import asyncio
import collections
import contextlib
import json
import signal
import socket
from collections.abc import AsyncIterator
from pathlib import Path

import aiohttp
import pytest
from tests.service.kit import Service
from tests.service.process import Serve, command

from outhaul import NativeWorker, Task, TaskStatus, WorkManager
from outhaul.service.client import Client
from outhaul.testing import Answer, FlakyServer

pytestmark = pytest.mark.timeout(60)

LOOPBACK = ("--allow-address", "127.0.0.0/8")
TOKEN = "0123456789abcdef0123"


@pytest.fixture
async def served(tmp_path: Path, folder: Path) -> AsyncIterator[Serve]:
    assert folder.name == "root"
    async with Serve(tmp_path, *LOOPBACK, "--drain-timeout", "20") as served:
        yield served


@pytest.mark.parametrize(
    ("options", "status", "said"),
    [
        (("--listen", "0.0.0.0:0", "--root", "."), 2, "there is no token"),
        (("--listen", "[::]:0", "--root", "."), 2, "there is no token"),
        (("--listen", "127.0.0.1", "--root", "."), 2, "write HOST:PORT"),
        (("--listen", "example.com:80", "--root", "."), 2, "write HOST:PORT"),
        (("--listen", "127.0.0.1:99999", "--root", "."), 2, "write HOST:PORT"),
        ((), 2, "root"),
        (("--root", "nowhere"), 2, "nowhere"),
        (("--root", ".", "--token-file", "none"), 2, "cannot be read"),
        (("--root", ".", "--token-file", "empty"), 2, "holds no token"),
        (("--root", ".", "--token-file", "short"), 2, "token"),
        (("--root", ".", "--allow-address", "ten"), 2, "not a network"),
    ],
    ids=str,
)
def test_what_cannot_be_served_is_said_in_a_line(
    tmp_path: Path, options: tuple[str, ...], status: int, said: str
) -> None:
    (tmp_path / "empty").write_text("\n")
    (tmp_path / "short").write_text("s3cret\n")
    ended = asyncio.run(command("--db", "work.db", "serve", *options, cwd=tmp_path))
    assert ended[0] == status, ended
    assert said in ended[2]
    assert "Traceback" not in ended[2]
    assert "s3cret" not in ended[2]


async def test_a_port_that_is_taken_is_said(tmp_path: Path, folder: Path) -> None:
    assert folder.exists()
    with socket.create_server(("127.0.0.1", 0)) as taken:
        listen = f"127.0.0.1:{taken.getsockname()[1]}"
        ended = await command("serve", "--root", "root", "--listen", listen, cwd=tmp_path)
    assert ended[0] == 1
    assert ended[2].startswith(f"outhaul: cannot listen on {listen}: ")
    assert ended[2].count("\n") == 1


@contextlib.asynccontextmanager
async def sending(
    served: Serve, size: int, *, bytes_per_s: float
) -> AsyncIterator[tuple[FlakyServer, aiohttp.ClientSession]]:
    """Where `large.bin` goes, as the task `x`, and where it was posted."""
    path = served.folder / "root" / "large.bin"
    path.write_bytes(bytes(size))
    async with (
        FlakyServer(bytes_per_s=bytes_per_s) as server,
        aiohttp.ClientSession(served.url) as session,
    ):
        worker = {"type": "http_upload", "url": server.url, "file_path": str(path)}
        async with session.post("/v1/tasks", json={"worker": worker, "task_id": "x"}) as answer:
            assert answer.status == 201
        await server.wait_requests()
        yield server, session


async def test_sigterm_finishes_what_runs_and_says_that_it_is_not_ready(served: Serve) -> None:
    async with sending(served, 20_000_000, bytes_per_s=10e6) as (server, session):
        served.signal(signal.SIGTERM)
        assert "finishing what runs" in await served.line()
        async with session.get("/readyz") as ready:  # over the connection that is kept
            assert ready.status == 503
            assert (await ready.json())["code"] == "DRAINING"
        assert await served.ended() == 0
        assert server.files["large.bin"].times == 1
    async with WorkManager(served.folder / "work.db", run=False) as manager:
        assert await manager.get_task_status("x") is TaskStatus.COMPLETED


async def test_a_second_sigterm_ends_at_once_and_the_work_is_kept(served: Serve) -> None:
    async with sending(served, 50_000_000, bytes_per_s=1e6):
        served.signal(signal.SIGTERM)
        assert "once more ends at once" in await served.line()
        served.signal(signal.SIGTERM)
        assert await served.ended() == 0
    async with WorkManager(served.folder / "work.db", run=False) as manager:
        record = await manager.get_task("x")
        assert record is not None
        assert (record.status, record.waiting_on) == (TaskStatus.PENDING, "limit")


async def test_the_command_line_speaks_to_it(served: Serve) -> None:
    at = ("--server", served.url)
    async with FlakyServer() as server:
        ended = await command(
            *at, "upload", "root/a.txt", "--to", server.url, "--tag", "t", cwd=served.folder
        )
        assert ended == (0, "completed  root/a.txt\n", "")
        assert server.files["a.txt"].size == 5
    status, out, _ = await command(
        *at, "list", "--status", "completed", "--tag", "t", "--json", cwd=served.folder
    )
    record = json.loads(out)
    assert (status, record["tag"]) == (0, "t")
    status, out, _ = await command(*at, "show", record["task_id"], "--json", cwd=served.folder)
    assert (status, len(json.loads(out)["events"])) == (0, 3)
    status, out, _ = await command(*at, "events", "--json", cwd=served.folder)
    kinds = [json.loads(line)["kind"] for line in out.splitlines()]
    assert (status, kinds) == (0, ["enqueued", "started", "completed"])
    assert (await command(*at, "cancel", record["task_id"], cwd=served.folder))[0] == 1
    assert (await command(*at, "cancel", "--tag", "t", cwd=served.folder))[:2] == (
        0,
        "cancelled 0 tasks\n",
    )
    ended = await command(
        *at, "upload", "/etc/hostname", "--to", "https://example.com/", cwd=served.folder
    )
    assert ended[0] == 2
    assert "Path outside" in ended[2]
    for verb in ("run", "serve"):
        root = ("--root", "root") if verb == "serve" else ()
        ended = await command(*at, verb, *root, cwd=served.folder)
        assert ended[0] == 2
        assert "--server" in ended[2]


async def test_retries_are_told_from_afar_and_many_files_take_two_streams(
    tmp_path: Path, folder: Path
) -> None:
    names = [f"root/{number}.txt" for number in range(20)]
    for name in names:
        (tmp_path / name).write_bytes(name.encode())
    refusals = [Answer(status=503), Answer(status=503)]
    async with (
        FlakyServer(script=refusals) as server,
        Service(tmp_path / "w.db", folder, streams_max=2) as service,
    ):
        words = ("upload", *names, "--to", server.url, "--retry-delay", "0.1")
        status, out, err = await command("--server", service.url, *words, cwd=tmp_path)
    assert (status, err) == (0, "")
    kinds = collections.Counter(line.split()[0] for line in out.splitlines())
    assert kinds == {"retry": 2, "completed": 20}


async def test_a_server_that_wants_a_token_gets_it_from_a_file(
    tmp_path: Path, folder: Path
) -> None:
    (tmp_path / "token").write_text(f"{TOKEN}\n")
    (tmp_path / "wrong").write_text(f"{TOKEN}x\n")
    assert folder.exists()
    async with Serve(tmp_path, "--token-file", "token") as served:
        at = ("--server", served.url)
        assert (await command(*at, "--token-file", "token", "list", cwd=tmp_path))[0] == 0
        for wrong in ((), ("--token-file", "wrong")):
            status, _, err = await command(*at, *wrong, "list", cwd=tmp_path)
            assert status != 0
            assert err.startswith("outhaul: this service wants a token")
            assert err.count("\n") == 1
            assert TOKEN not in err


@pytest.mark.parametrize(
    ("url", "status", "verb"),
    [
        ("http://127.0.0.1:1", 1, ("list",)),
        ("http://127.0.0.1:1", 1, ("events", "--follow")),  # at once, and not after some tries
        ("http://127.0.0.1:1", 1, ("upload", "root/a.txt", "--to", "https://example.com/")),
        ("http://", 2, ("list",)),
        ("nonsense", 2, ("list",)),
        ("http://user:s3cret@[::1", 2, ("list",)),
    ],
    ids=str,
)
@pytest.mark.usefixtures("folder")
def test_a_server_that_is_not_there_is_said_in_a_line(
    tmp_path: Path, url: str, status: int, verb: tuple[str, ...]
) -> None:
    ended = asyncio.run(asyncio.wait_for(command("--server", url, *verb, cwd=tmp_path), 5))
    assert ended[0] == status, ended
    assert ended[2].startswith("outhaul: ")
    assert ended[2].count("\n") == 1
    assert "s3cret" not in ended[2]


async def test_beyond_loopback_it_listens_with_a_token(tmp_path: Path, folder: Path) -> None:
    (tmp_path / "token").write_text(f"{TOKEN}\n")
    assert folder.exists()
    async with (
        Serve(tmp_path, "--listen", "0.0.0.0:0", "--token-file", "token") as served,
        aiohttp.ClientSession(served.url) as session,
    ):
        for token, status in ((TOKEN, 200), (TOKEN[1:], 401)):
            headers = {"Authorization": f"Bearer {token}", "Host": "any.example"}
            async with session.get("/v1/stats", headers=headers) as answer:
                assert answer.status == status


@pytest.mark.parametrize("host", ["[::1]", "127.0.0.2", "localhost"])
async def test_it_answers_to_the_address_it_listens_on(
    tmp_path: Path, folder: Path, host: str
) -> None:
    assert folder.exists()
    async with Serve(tmp_path, "--listen", f"{host}:0") as served:
        status, out, err = await command(
            "--server", f"http://{host}:{served.port}", "list", cwd=tmp_path
        )
    assert (status, out, err) == (0, "", "outhaul: none (0 completed, 0 failed)\n")


async def test_what_a_stranger_sends_that_is_no_http_is_not_logged(served: Serve) -> None:
    """It may hold a token, where a client is mistaken."""
    head = b"POST /v1/tasks HTTP/1.1\r\nHost: x\r\n"
    for sent in (
        b"\x16\x03\x01\x02\x00\x01\x00",
        head + b"Authorization : Bearer " + TOKEN.encode() + b"\r\n\r\n",
        head + b"X: " + b"x" * 10_000 + b"\r\n\r\n",
        head + b"Content-Length: 1\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
        head + b"Content-Length: 1\r\nContent-Length: 2\r\n\r\n[]",
        # This one is refused for its host; then what is left of it turns out not to be gzip.
        head + b"Connection: close\r\nContent-Encoding: gzip\r\nContent-Length: 2\r\n\r\n[]",
    ):
        reader, writer = await asyncio.open_connection("127.0.0.1", served.port)
        writer.write(sent)
        assert (await reader.read()).split(b" ")[1] in {b"400", b"421"}
        writer.close()
    served.signal(signal.SIGTERM)
    assert await served.ended() == 0
    assert served.process is not None
    assert served.process.stderr is not None
    said = (await served.process.stderr.read()).decode()
    assert said == "outhaul: finishing what runs; once more ends at once\n"


@pytest.mark.parametrize("seconds", ["nan", "-1", "inf", "1e12"])
def test_a_drain_timeout_that_means_nothing_is_refused_at_once(
    tmp_path: Path, folder: Path, seconds: str
) -> None:
    options = ("--root", str(folder), "--listen", "127.0.0.1:0", "--drain-timeout", seconds)
    ended = asyncio.run(command("serve", *options, cwd=tmp_path))
    assert ended[0] == 2
    assert ended[2].startswith("outhaul: drain_timeout: is ")


async def test_what_does_not_finish_in_time_is_interrupted_and_kept(
    tmp_path: Path, folder: Path
) -> None:
    async with (
        FlakyServer(script=[Answer(delay_s=60)]) as server,
        Serve(tmp_path, *LOOPBACK, "--drain-timeout", "0.2") as served,
        Client(served.url) as client,
    ):
        worker = NativeWorker.http_upload(url=server.url, file_path=folder / "a.txt")
        await client.enqueue_all([Task("x", worker)])
        await server.wait_requests()
        served.signal(signal.SIGTERM)
        assert await served.ended() == 0
    async with WorkManager(tmp_path / "work.db", run=False) as manager:
        assert await manager.get_task_status("x") is TaskStatus.PENDING
