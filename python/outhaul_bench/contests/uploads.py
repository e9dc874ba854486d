"""One large upload over loopback, from `enqueue` to the durable `completed`."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from outhaul_bench import sink
from outhaul_bench.contest import Column, Contender, Contest, Goal, loop_goals
from outhaul_bench.contests import clients
from outhaul_bench.contests.files import served
from outhaul_bench.measure import GIB, MIB, LagTicker, Usage, first_file, paths_in

LARGE_COLUMNS = (
    Column("mb_s", "MB/s"),
    Column("cpu_s", "CPU s", 2),
    Column("lag_p99_ms", "lag p99 ms", 1),
    Column("lag_max_ms", "lag max ms", 1),
    Column("rss_growth_mib", "RSS + MiB", 1),
)
RSS = Goal("RSS growth, MiB", "rss_growth_mib", 16, at_least=False, statistic=max)
OUTHAUL = Contender("outhaul", f"{__name__}:upload")
_RIVALS = (clients.CURL.name, clients.PYCURL.name)
_EVERYWHERE = (
    clients.AIOHTTP,
    clients.AIOHTTP_PIECES,
    clients.AIOHTTP_ASYNCIO,
    clients.CURL,
    clients.PYCURL,
    clients.URLLIB3,
    clients.HTTPX_SYNC,
    clients.HTTPX,
    clients.PYREQWEST,
    clients.PYREQWEST_PIECES,
    clients.NIQUESTS_SYNC,
    clients.NIQUESTS,
    clients.TOOLBELT,
)
_AIOHTTP = (clients.AIOHTTP.name, clients.AIOHTTP_PIECES.name)
_AWAITED = (
    clients.AIOHTTP,
    clients.AIOHTTP_PIECES,
    clients.AIOHTTP_ASYNCIO,
    clients.AIOFASTNET_SENDFILE,
    clients.HTTPX,
    clients.PYREQWEST,
    clients.PYREQWEST_PIECES,
    clients.NIQUESTS,
)


def contests(*, tiny: bool = False) -> list[Contest]:
    size = 8 * MIB if tiny else GIB
    return [_plain(size), _tls(size)]


def _plain(size: int) -> Contest:
    return Contest(
        name="upload-plain",
        title=f"One multipart upload of {size // MIB} MiB, plain HTTP",
        contenders=(
            OUTHAUL,
            *_EVERYWHERE,
            clients.AIOFASTNET_SENDFILE,
            clients.READ_WRITE,
            clients.SENDFILE,
        ),
        columns=LARGE_COLUMNS,
        goals=(
            Goal("throughput / aiohttp", "mb_s", 2.1, peers=_AIOHTTP),
            Goal("CPU seconds / aiohttp", "cpu_s", 0.5, at_least=False, peers=_AIOHTTP),
            Goal("throughput / curl and pycurl", "mb_s", 1.0, peers=_RIVALS),
            Goal(
                "throughput / clients with a free loop",
                "mb_s",
                1.0,
                peers=tuple(client.name for client in _AWAITED),
                peers_late_ms_max=20,
            ),
            Goal("throughput / read + write", "mb_s", 0.9, peers=(clients.READ_WRITE.name,)),
            RSS,
            *loop_goals(),
        ),
        setup=lambda workshop: served(workshop, size),
        rounds=5,
    )


def _tls(size: int) -> Contest:
    return Contest(
        name="upload-tls",
        title=f"One multipart upload of {size // MIB} MiB, TLS 1.3",
        contenders=(OUTHAUL, *_EVERYWHERE, clients.AIOFASTNET, clients.OPENSSL),
        columns=LARGE_COLUMNS,
        goals=(
            Goal("throughput / aiohttp", "mb_s", 2.0, peers=_AIOHTTP),
            Goal("throughput / curl and pycurl", "mb_s", 1.0, peers=_RIVALS),
            RSS,
            *loop_goals(),
        ),
        setup=lambda workshop: served(workshop, size, tls=True),
        rounds=5,
    )


async def upload(url: str, files: str, ca_file: str, folder: str) -> dict[str, Any]:
    """From `enqueue` to the durable `completed`."""
    from outhaul import NativeWorker, WorkManager  # noqa: PLC0415 — in the child only

    path = paths_in(files)[0]
    store = Path(folder, "work.db")
    async with WorkManager(store, ca_file=ca_file or None) as manager:
        first = NativeWorker.http_upload(url=url, file_path=first_file(folder))
        await (await manager.enqueue(None, first)).result()
        worker = NativeWorker.http_upload(url=url, file_path=path)
        with sink.receiving([path], url, ca_file):
            async with LagTicker() as lag:
                with Usage() as usage:
                    event = await (await manager.enqueue(None, worker)).result()
        assert event.success, event
    return {**usage.sent([path]), **lag.report()}
