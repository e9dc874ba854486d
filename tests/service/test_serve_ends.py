"""How `serve` begins and ends, in this process: its limits, its port, its signals."""

from __future__ import annotations

import asyncio
import resource
import signal
from collections.abc import Iterator
from pathlib import Path

import pytest
from tests.service.serving import a_manager, serving

from outhaul import PythonWorker, TaskContext
from outhaul.errors import InvalidArgumentError
from outhaul.service import serve as serve_module
from outhaul.service.serve import Address


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT], ids=["SIGTERM", "SIGINT"])
async def test_a_signal_ends_it_when_what_runs_has_ended_and_nobody_is_let_in_meanwhile(
    tmp_path: Path, folder: Path, number: signal.Signals
) -> None:
    manager = a_manager(tmp_path / "w.db", folder)
    begun, let_go = asyncio.Event(), asyncio.Event()

    @manager.worker("work")
    async def work(_: object, __: TaskContext) -> None:
        begun.set()
        await let_go.wait()

    async with serving(manager) as served:
        task = await manager.enqueue("x", PythonWorker("work"))
        async with asyncio.timeout(5):
            await begun.wait()
            served.tell(number)
            assert "finishing what runs" in await served.said.get()
        with pytest.raises(ConnectionRefusedError):
            await asyncio.open_connection("127.0.0.1", served.port)
        let_go.set()
        assert (await task.result()).success
        await served.ended()
    assert not manager.is_open


async def test_a_connection_on_which_nothing_is_asked_any_more_is_closed(
    tmp_path: Path, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(serve_module, "_IDLE_S", 0.05)
    async with serving(a_manager(tmp_path / "w.db", folder)) as served:
        reader, writer = await asyncio.open_connection("127.0.0.1", served.port)
        writer.write(b"GET /healthz HTTP/1.1\r\nHost: localhost\r\n\r\n")
        async with asyncio.timeout(5):
            assert (await reader.read()).startswith(b"HTTP/1.1 200 ")
        writer.close()


@pytest.fixture
def few_files() -> Iterator[int]:
    """The process may open few files, and may say that it wants more: so many."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    few = 512
    if hard != resource.RLIM_INFINITY and hard <= few:
        pytest.skip("no more files are allowed here")
    resource.setrlimit(resource.RLIMIT_NOFILE, (few, hard))
    yield few
    resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))


async def test_it_asks_for_as_many_open_files_as_streams_and_transfers_may_need(
    tmp_path: Path, folder: Path, few_files: int
) -> None:
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    async with serving(a_manager(tmp_path / "w.db", folder)):
        soft, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
    assert soft > few_files
    assert soft == (65_536 if hard == resource.RLIM_INFINITY else min(hard, 65_536))


def test_a_port_has_sixteen_bits() -> None:
    assert Address.parse("127.0.0.1:65535").port == 65_535
    assert Address.parse("127.0.0.1:0").port == 0
    for wrong in ("127.0.0.1:65536", "127.0.0.1:-1"):
        with pytest.raises(InvalidArgumentError, match="write HOST:PORT"):
            Address.parse(wrong)
