"""A server that most uploads meet: nginx, as Debian ships it. Skipped where it is not installed."""

from __future__ import annotations

import asyncio
import hashlib
import os
import shutil
import socket
from collections.abc import AsyncIterator
from datetime import timedelta
from pathlib import Path

import pytest
from tests.http.conftest import Made
from tests.http.peers import verdict

from outhaul import ErrorCode, EventKind, NativeWorker, WorkManager
from outhaul.testing import FakeClock, FlakyServer

BINARY = shutil.which("nginx") or shutil.which("/usr/sbin/nginx")

pytestmark = pytest.mark.skipif(BINARY is None, reason="nginx is not installed: make nginx")

CONFIG = """
daemon off; master_process off; worker_processes 1; pid {root}/pid; error_log {root}/error.log;
events {{ worker_connections 64; }}
http {{
    access_log {root}/access.log;
    client_body_temp_path {root}/body; proxy_temp_path {root}/proxy;
    fastcgi_temp_path {root}/f; uwsgi_temp_path {root}/u; scgi_temp_path {root}/s;
    client_max_body_size 1m; client_body_buffer_size 16k; lingering_timeout 1s;
    server {{
        listen 127.0.0.1:{port};
        keepalive_requests 2;
        location /proxied {{ client_max_body_size 0; proxy_pass {behind}; }}
        location /streamed {{
            client_max_body_size 0; proxy_request_buffering off; proxy_http_version 1.1;
            proxy_pass {behind};
        }}
        location /small {{ proxy_pass {behind}; }}
        location /reset {{ lingering_close off; proxy_pass {behind}; }}
        location /busy {{ add_header Retry-After 7 always; return 503; }}
        location /gone {{ proxy_pass http://127.0.0.1:1; }}
        location /hangs-up {{ return 444; }}
        location /dav {{ root {root}/dav; client_max_body_size 0; {dav} }}
    }}
}}
"""


async def has_dav() -> bool:
    assert BINARY is not None
    asked = await asyncio.create_subprocess_exec(
        BINARY, "-V", stderr=asyncio.subprocess.PIPE, stdout=asyncio.subprocess.DEVNULL
    )
    _, said = await asked.communicate()
    return b"http_dav_module" in said


@pytest.fixture
async def behind() -> AsyncIterator[FlakyServer]:
    async with FlakyServer() as server:
        yield server


@pytest.fixture
async def nginx(behind: FlakyServer, tmp_path: Path) -> AsyncIterator[str]:
    """Its address, up to the path."""
    assert BINARY is not None
    root = tmp_path / "nginx"
    (root / "dav" / "dav").mkdir(parents=True)
    for path in (root, root / "dav", root / "dav" / "dav"):
        path.chmod(0o777)
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    origin = behind.url.removesuffix("/upload")
    dav = "dav_methods PUT; create_full_put_path on;" if await has_dav() else "return 501;"
    config = root / "nginx.conf"
    user = "user root;" if os.geteuid() == 0 else ""
    config.write_text(user + CONFIG.format(root=root, port=port, behind=origin, dav=dav))
    child = await asyncio.create_subprocess_exec(
        *(BINARY, "-p", str(root), "-c", str(config), "-e", str(root / "error.log"))
    )
    try:
        while True:
            try:
                _, writer = await asyncio.open_connection("127.0.0.1", port)
            except OSError:
                assert child.returncode is None, (root / "error.log").read_text()
                await asyncio.sleep(0.005)  # its only way to say that it listens
            else:
                writer.close()
                break
        yield f"http://127.0.0.1:{port}"
    finally:
        if child.returncode is None:
            child.terminate()
        await child.wait()


@pytest.mark.parametrize("way", ["proxied", "streamed"])
@pytest.mark.parametrize("size", [0, 1, 20_000, 5_000_000])
async def test_a_body_arrives_behind_it_to_the_byte(
    manager: WorkManager, make: Made, nginx: str, behind: FlakyServer, way: str, size: int
) -> None:
    content = os.urandom(size)
    worker = NativeWorker.http_upload(url=f"{nginx}/{way}", file_path=make(content))
    event = await (await manager.enqueue("x", worker)).result()
    assert event.success, event
    assert behind.requests[0].sha256 == hashlib.sha256(content).hexdigest()


async def test_webdav_stores_the_raw_body(
    manager: WorkManager, make: Made, nginx: str, tmp_path: Path
) -> None:
    if not await has_dav():
        pytest.skip("this nginx has no http_dav_module")
    content = os.urandom(5_000_000)
    url = f"{nginx}/dav/2024/photo.jpg"
    worker = NativeWorker.http_upload(url=url, file_path=make(content), method="PUT", body="raw")
    event = await (await manager.enqueue("x", worker)).result()
    assert (event.success, event.http_status) == (True, 201)
    stored = tmp_path / "nginx" / "dav" / "dav" / "2024" / "photo.jpg"
    assert stored.read_bytes() == content


@pytest.mark.parametrize("way", ["small", "reset"])
@pytest.mark.parametrize("size", [1_100_000, 64 * 1024 * 1024])
async def test_its_413_is_heard_while_the_body_is_under_way(
    manager: WorkManager, make: Made, nginx: str, behind: FlakyServer, way: str, size: int
) -> None:
    """`client_max_body_size`: it answers at once; without lingering it resets the connection."""
    worker = NativeWorker.http_upload(url=f"{nginx}/{way}", file_path=make(size))
    event = await (await manager.enqueue("x", worker)).result()
    assert (event.kind, event.attempt) == (EventKind.FAILED, 1)
    assert (event.http_status, event.error_code) == (413, ErrorCode.HTTP_CLIENT_ERROR)
    assert not behind.requests


async def test_its_503_with_retry_after_is_obeyed(
    manager: WorkManager, make: Made, nginx: str
) -> None:
    worker = NativeWorker.http_upload(url=f"{nginx}/busy", file_path=make())
    event = await verdict(await manager.enqueue("x", worker))
    assert (event.kind, event.http_status) == (EventKind.RETRY_SCHEDULED, 503)
    assert event.retry_at_ms is not None
    assert event.retry_at_ms - event.at_ms >= 30_000  # the policy's own wait is the longer


async def test_a_dead_upstream_is_retried(manager: WorkManager, make: Made, nginx: str) -> None:
    worker = NativeWorker.http_upload(url=f"{nginx}/gone", file_path=make())
    event = await verdict(await manager.enqueue("x", worker))
    assert (event.kind, event.http_status) == (EventKind.RETRY_SCHEDULED, 502)
    assert event.error_code is ErrorCode.HTTP_SERVER_ERROR


async def test_a_connection_that_it_drops_is_retried(
    manager: WorkManager, make: Made, nginx: str, clock: FakeClock
) -> None:
    worker = NativeWorker.http_upload(url=f"{nginx}/hangs-up", file_path=make())
    task = await manager.enqueue("x", worker)
    for attempt in (1, 2):
        event = await verdict(task, attempt=attempt)
        assert event.kind is EventKind.RETRY_SCHEDULED
        assert event.error_code is ErrorCode.NETWORK_ERROR
        clock.advance(timedelta(seconds=67))


async def test_the_end_of_a_kept_connection_costs_no_attempt(
    manager: WorkManager, make: Made, nginx: str, behind: FlakyServer
) -> None:
    """`keepalive_requests 2`: every second answer closes."""
    for _ in range(5):
        worker = NativeWorker.http_upload(url=f"{nginx}/proxied", file_path=make())
        event = await (await manager.enqueue(None, worker)).result()
        assert (event.success, event.attempt) == (True, 1)
    assert len(behind.requests) == 5
