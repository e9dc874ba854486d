"""Where a queue keeps its jobs: a server of one's own, durable before it answers, or a directory.

Each yields what its peer's module finds in `PLACE`: an address, or the directory.
"""

from __future__ import annotations

import contextlib
import os
import pwd
import shutil
import signal
import socket
import stat
import subprocess
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager
from pathlib import Path

from outhaul_bench import programs

PLACE = "BENCH_PLACE"
_PATIENCE_S = 20


@contextlib.contextmanager
def directory(folder: str) -> Iterator[str]:
    """For queues that keep files."""
    yield folder


@contextlib.contextmanager
def redis(folder: str) -> Iterator[str]:
    """`appendonly yes`, `appendfsync always`."""
    port = _free_port()
    options = f"--port {port} --bind 127.0.0.1 --dir {folder} --daemonize no --logfile redis.log"
    durable = ["--save", "", "--appendonly", "yes", "--appendfsync", "always"]
    with _running(["redis-server", *options.split(), *durable], port):
        yield f"redis://127.0.0.1:{port}"


@contextlib.contextmanager
def postgres(folder: str) -> Iterator[str]:
    """Its defaults: `fsync` and `synchronous_commit` are on. It refuses to be root."""
    user = "postgres" if os.geteuid() == 0 else pwd.getpwuid(os.geteuid()).pw_name
    with tempfile.TemporaryDirectory(dir=_open_to_others(Path(folder))) as home:
        shutil.chown(home, user)
        made = ["--pgdata", f"{home}/data", "--auth", "trust", "--username", "bench"]
        subprocess.run(
            [_program("initdb"), *made], user=user, cwd=home, check=True, capture_output=True
        )
        port = _free_port()
        options = f"-D {home}/data -p {port} -h 127.0.0.1 -k {home}"
        with _running([_program("postgres"), *options.split()], port, user=user):
            yield f"postgresql://bench@127.0.0.1:{port}/postgres"


SERVERS: dict[str, Callable[[str], AbstractContextManager[str]]] = {
    "directory": directory,
    "redis": redis,
    "postgres": postgres,
}


def _program(name: str) -> str:
    found = programs.find(name)
    assert found is not None, name
    return found


def _open_to_others(folder: Path) -> Path:
    """The folder, or the nearest above it that any user may enter; ours will do for ourselves."""
    if os.geteuid() != 0:
        return folder
    chain = [folder, *folder.parents]
    closed = [at for at, one in enumerate(chain) if not one.stat().st_mode & stat.S_IXOTH]
    return chain[closed[-1] + 1] if closed else folder


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


@contextlib.contextmanager
def _running(command: list[str], port: int, *, user: str | None = None) -> Iterator[None]:
    process = subprocess.Popen(
        command, user=user, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
    )
    try:
        _wait_for(port, process)
        yield
    finally:
        process.send_signal(signal.SIGINT)  # PostgreSQL's fast shutdown; Redis knows it too
        process.wait()


def _wait_for(port: int, process: subprocess.Popen[bytes]) -> None:
    until = time.monotonic() + _PATIENCE_S
    while True:
        try:
            socket.create_connection(("127.0.0.1", port)).close()
        except ConnectionRefusedError:
            if time.monotonic() > until or process.poll() is not None:
                raise
            time.sleep(0.01)
        else:
            return
