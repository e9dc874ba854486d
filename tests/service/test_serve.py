"""`outhaul serve`: how it begins, how it ends, and the command line against it."""

from __future__ import annotations

import asyncio
import json
import signal
import socket
from collections.abc import AsyncIterator
from pathlib import Path

import aiohttp
import pytest
from tests.service.process import Serve, command

from outhaul import TaskStatus, WorkManager
from outhaul.service.client import Client
from outhaul.testing import FlakyServer

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
async def test_what_cannot_be_served_is_said_in_a_line(
    tmp_path: Path, options: tuple[str, ...], status: int, said: str
) -> None:
    (tmp_path / "empty").write_text("\n")
    (tmp_path / "short").write_text("s3cret\n")
    ended = await command("--db", "work.db", "serve", *options, cwd=tmp_path)
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


async def test_sigterm_finishes_what_runs_and_says_that_it_is_not_ready(served: Serve) -> None:
    (served.folder / "root" / "large.bin").write_bytes(bytes(20_000_000))
    async with (
        FlakyServer(bytes_per_s=10e6) as server,
        aiohttp.ClientSession(served.url) as session,
    ):
        path = str(served.folder / "root" / "large.bin")
        worker = {"type": "http_upload", "url": server.url, "file_path": path}
        async with session.post("/v1/tasks", json={"worker": worker, "task_id": "x"}) as answer:
            assert answer.status == 201
        await server.wait_requests()
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
    (served.folder / "root" / "large.bin").write_bytes(bytes(50_000_000))
    async with (
        FlakyServer(bytes_per_s=1e6) as server,
        aiohttp.ClientSession(served.url) as session,
    ):
        path = str(served.folder / "root" / "large.bin")
        worker = {"type": "http_upload", "url": server.url, "file_path": path}
        async with session.post("/v1/tasks", json={"worker": worker, "task_id": "x"}) as answer:
            assert answer.status == 201
        await server.wait_requests()
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


async def test_a_server_that_is_not_there_is_said_in_a_line(tmp_path: Path) -> None:
    for url in ("http://127.0.0.1:1", "http://", "nonsense"):
        status, _, err = await command("--server", url, "list", cwd=tmp_path)
        assert status == 1, err
        assert err.count("\n") == 1
        assert "Traceback" not in err


async def test_a_stream_goes_on_after_the_service_was_killed(served: Serve) -> None:
    """F-15: nothing missing and nothing doubled, by hand and by our own client."""
    root = served.folder / "root" / "a.txt"
    worker = {"type": "http_upload", "url": "http://127.0.0.1:9/", "file_path": str(root)}
    later = {"type": "one_time", "initial_delay_ms": 3_600_000}
    body = [{"worker": worker, "trigger": later}] * 25
    by_client: list[int] = []

    async def follow() -> None:
        async with Client(served.url) as client:
            async for event in client.events(after=0):
                by_client.append(event.seq)  # noqa: PERF401 — it is read meanwhile

    async def enqueue() -> None:
        async with (
            aiohttp.ClientSession(served.url) as session,
            session.post("/v1/tasks", json=body) as answer,
        ):
            assert answer.status == 201

    following = asyncio.create_task(follow())
    by_hand: list[int] = []
    for _ in range(3):
        await enqueue()
        async with aiohttp.ClientSession(served.url) as session:
            seen = {"Last-Event-ID": str(by_hand[-1])} if by_hand else {}
            query = {} if by_hand else {"after": "0"}
            async with session.get("/v1/events", headers=seen, params=query) as stream:
                until = (by_hand[-1] if by_hand else 0) + 13
                while not by_hand or by_hand[-1] < until:
                    line = (await stream.content.readline()).decode()
                    if line.startswith("id: "):
                        by_hand.append(int(line[4:]))
                await served.kill()
        await served.start()
    await enqueue()
    async with asyncio.timeout(30):
        while not by_client or by_client[-1] < 100:
            await asyncio.sleep(0.05)
    following.cancel()
    await asyncio.gather(following, return_exceptions=True)
    assert by_client == list(range(1, 101))
    assert by_hand == list(range(1, by_hand[-1] + 1))
