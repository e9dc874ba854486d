"""A body goes only where it was meant to: redirects and proxies (S-349, transfer spec 5.3)."""

from __future__ import annotations

import asyncio
import json
import os
import sys
from pathlib import Path

import pytest
from tests.http.conftest import Made
from tests.http.peers import RawServer, answer, request_of

from outhaul import ErrorCode, EventKind, NativeWorker, WorkManager
from outhaul.testing import Answer, FlakyServer


def to(place: str, status: int = 307) -> Answer:
    return Answer(status=status, headers={"Location": place}, body=b"")


@pytest.mark.parametrize("status", [307, 308])
async def test_a_redirect_within_the_origin_is_followed_with_method_and_body(
    manager: WorkManager, make: Made, status: int
) -> None:
    async with FlakyServer(script=[to("/elsewhere?q=1", status)]) as server:
        worker = NativeWorker.http_upload(url=server.url, file_path=make(3_000_000), method="PUT")
        event = await (await manager.enqueue("x", worker)).result()
        first, second = server.requests
    assert (event.success, event.attempt) == (True, 1)
    assert (second.method, second.path, second.size) == ("PUT", "/elsewhere?q=1", 3_000_000)
    assert first.idempotency_key == second.idempotency_key


@pytest.mark.parametrize("status", [301, 302, 303])
async def test_a_redirect_that_would_drop_the_body_is_not_followed(
    manager: WorkManager, make: Made, status: int
) -> None:
    async with FlakyServer(script=[to("/elsewhere", status)]) as server:
        worker = NativeWorker.http_upload(url=server.url, file_path=make())
        event = await (await manager.enqueue("x", worker)).result()
        assert len(server.requests) == 1
    assert (event.kind, event.http_status) == (EventKind.FAILED, status)
    assert "/elsewhere" in event.message


async def test_another_origin_gets_neither_body_nor_credentials(
    manager: WorkManager, make: Made
) -> None:
    async with FlakyServer() as other, FlakyServer(script=[to(other.url)]) as server:
        worker = NativeWorker.http_upload(url=server.url, file_path=make())
        event = await (await manager.enqueue("x", worker)).result()
        assert not other.requests
    assert (event.kind, event.error_code) == (EventKind.FAILED, ErrorCode.HTTP_CLIENT_ERROR)
    assert "another origin" in event.message


@pytest.mark.parametrize(
    "place", ["http://169.254.169.254/latest", "https://127.0.0.1:1/", "ftp://127.0.0.1/", "//"]
)
async def test_a_redirect_to_anywhere_else_is_not_followed(
    manager: WorkManager, make: Made, place: str
) -> None:
    """F-11."""
    async with FlakyServer(script=[to(place)]) as server:
        worker = NativeWorker.http_upload(url=server.url, file_path=make())
        event = await (await manager.enqueue("x", worker)).result()
    assert (event.kind, event.http_status) == (EventKind.FAILED, 307)


async def test_a_circle_of_redirects_ends(manager: WorkManager, make: Made) -> None:
    async with FlakyServer(script=[to("/upload")] * 50) as server:
        worker = NativeWorker.http_upload(url=server.url, file_path=make())
        event = await (await manager.enqueue("x", worker)).result()
        assert len(server.requests) == 6
    assert (event.kind, event.attempt) == (EventKind.FAILED, 1)
    assert "redirects" in event.message


async def test_the_query_of_a_redirect_is_not_told(manager: WorkManager, make: Made) -> None:
    script = [to("https://other.example/?signature=hunter22")]
    async with FlakyServer(script=script) as server:
        worker = NativeWorker.http_upload(url=server.url, file_path=make())
        event = await (await manager.enqueue("x", worker)).result()
    assert "other.example" in event.message
    assert "hunter22" not in event.message


CHILD = """
import asyncio, json, sys
from outhaul import Constraints, NativeWorker, RetryPolicy, WorkManager

async def main() -> None:
    store, file, url = sys.argv[1:]
    async with WorkManager(store, allow_http=True) as manager:
        worker = NativeWorker.http_upload(url=url, file_path=file)
        task = await manager.enqueue(
            "x", worker, constraints=Constraints(requires_network=False), retry=RetryPolicy.NONE
        )
        event = await task.result()
        print(json.dumps([event.success, event.http_status, event.message]))

asyncio.run(main())
"""


async def through(proxy: str, url: str, tmp_path: Path, path: Path) -> tuple[bool, int, str]:
    """What a process says whose environment names that proxy."""
    environ = {key: value for key, value in os.environ.items() if "proxy" not in key.lower()}
    environ |= {"http_proxy": proxy, "HTTPS_PROXY": proxy}
    environ["PYTHONPATH"] = os.pathsep.join(sys.path)
    child = await asyncio.create_subprocess_exec(
        *(sys.executable, "-c", CHILD, str(tmp_path / "child.db"), str(path), url),
        env=environ,
        stdout=asyncio.subprocess.PIPE,
    )
    said, _ = await child.communicate()
    success, status, message = json.loads(said)
    return success, status, message


async def test_the_proxy_of_the_environment_is_used_for_other_hosts(
    tmp_path: Path, make: Made
) -> None:
    heard: list[tuple[bytes, bytes]] = []

    async def speak(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        heard.append(await request_of(reader))
        writer.write(answer("201 Created"))
        await reader.read()

    async with RawServer(speak) as proxy:
        via = f"http://bob:hunter22@127.0.0.1:{proxy.port}"
        url = "http://files.example/up?a=b"
        success, status, _ = await through(via, url, tmp_path, make(b"hello"))
    assert (success, status) == (True, 201)
    ((head, body),) = heard
    assert head.startswith(b"POST http://files.example/up?a=b HTTP/1.1\r\n")
    assert b"host: files.example\r\n" in head.lower()
    assert b"Ym9iOmh1bnRlcjIy" in head  # bob:hunter22
    assert b"hello" in body


async def test_a_proxy_that_refuses_the_tunnel_is_named_without_its_password(
    tmp_path: Path, make: Made
) -> None:
    heard: list[bytes] = []

    async def speak(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        heard.append(await reader.readuntil(b"\r\n\r\n"))
        writer.write(answer("407 Proxy Authentication Required"))
        await reader.read()

    async with RawServer(speak) as proxy:
        via = f"http://bob:hunter22@127.0.0.1:{proxy.port}"
        success, _, message = await through(via, "https://files.example/", tmp_path, make())
    assert heard[0].startswith(b"CONNECT files.example:443 ")
    assert not success
    assert "proxy" in message
    assert "hunter22" not in message


async def test_a_loopback_address_is_never_asked_of_a_proxy(
    tmp_path: Path, make: Made, server: FlakyServer
) -> None:
    success, status, _ = await through("http://127.0.0.1:1", server.url, tmp_path, make())
    assert (success, status) == (True, 200)
