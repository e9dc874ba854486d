"""Many uploads over loopback, from `enqueue_all` to the last durable `completed`."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from outhaul_bench import sink
from outhaul_bench.contest import Column, Contender, Contest, Goal, loop_goals, p99
from outhaul_bench.contests import clients
from outhaul_bench.contests.files import mixed_sizes, served, served_files
from outhaul_bench.contests.uploads import LARGE_COLUMNS
from outhaul_bench.measure import MIB, LagTicker, Usage, first_file, paths_in

SMALL_BYTES = 16 * 1024
SMALL_CONCURRENCY = 32
MANY = 8
_FILES = Column("files_s", "files/s")


def contests(*, tiny: bool = False) -> list[Contest]:
    return [
        _small(64 if tiny else 2000),
        _many(MIB if tiny else 128 * MIB),
        _mixed(20 if tiny else 400, 64 * 1024 if tiny else 16 * MIB),
    ]


def _small(count: int) -> Contest:
    aiohttp = (clients.AIOHTTP.name, clients.AIOHTTP_BYTES.name)
    bare = (clients.PYREQWEST.name, clients.PYREQWEST_BYTES.name, clients.PRIMP.name)
    return Contest(
        name="upload-small",
        title=f"{count} multipart uploads of 16 KiB, {SMALL_CONCURRENCY} at a time",
        contenders=(
            Contender("outhaul", f"{__name__}:upload_all"),
            clients.AIOHTTP,
            clients.AIOHTTP_BYTES,
            clients.AIOHTTP_ASYNCIO,
            clients.CURL_MANY,
            clients.PYREQWEST,
            clients.PYREQWEST_BYTES,
            clients.PRIMP,
            clients.PYCURL,
            clients.URLLIB3,
            clients.HTTPX,
            clients.NIQUESTS,
            clients.TOOLBELT,
        ),
        columns=(_FILES, *LARGE_COLUMNS[1:]),
        goals=(
            Goal("files/s / aiohttp", "files_s", 5, peers=aiohttp),
            Goal("files/s / pyreqwest and primp", "files_s", 1.5, peers=bare),
            *loop_goals(),
        ),
        setup=lambda workshop: served(workshop, SMALL_BYTES, count=count),
        rounds=5,
    )


def _many(size: int) -> Contest:
    aiohttp = (clients.AIOHTTP.name, clients.AIOHTTP_PIECES.name)
    return Contest(
        name="upload-many",
        title=f"{MANY} multipart uploads of {size // MIB} MiB at once",
        contenders=(
            Contender("outhaul", f"{__name__}:upload_all", {"limit": MANY}),
            clients.AIOHTTP,
            clients.AIOHTTP_PIECES,
            clients.AIOHTTP_ASYNCIO,
            clients.AIOFASTNET_SENDFILE,
            clients.PYREQWEST,
            clients.PYREQWEST_PIECES,
            clients.PYCURL,
            clients.URLLIB3,
            clients.HTTPX,
        ),
        columns=LARGE_COLUMNS,
        goals=(
            Goal("throughput / aiohttp", "mb_s", 2.5, peers=aiohttp),
            Goal("loop lag p99, ms", "late_ms", 3, at_least=False, statistic=p99),
        ),
        setup=lambda workshop: served(workshop, size, count=MANY),
        rounds=5,
    )


def _mixed(count: int, largest: int) -> Contest:
    sizes = mixed_sizes(count, largest)
    return Contest(
        name="upload-mixed",
        title=f"{count} multipart uploads, 1 B to {max(sizes) // 1024:,} KiB, "
        f"{SMALL_CONCURRENCY} at a time",
        contenders=(
            Contender("outhaul", f"{__name__}:upload_all"),
            clients.AIOHTTP,
            clients.AIOHTTP_BYTES,
            clients.AIOHTTP_ASYNCIO,
            clients.PYREQWEST,
            clients.PYREQWEST_BYTES,
            clients.PRIMP,
            clients.PYCURL,
            clients.URLLIB3,
            clients.HTTPX,
        ),
        columns=(_FILES, *LARGE_COLUMNS),
        goals=loop_goals(),
        setup=lambda workshop: served_files(workshop, "files-mixed", sizes),
        rounds=5,
        is_quick=False,
    )


async def upload_all(
    url: str, files: str, ca_file: str, folder: str, limit: int = SMALL_CONCURRENCY
) -> dict[str, Any]:
    """From `enqueue_all` to the last durable `completed`."""
    from outhaul import NativeWorker, Task, WorkManager  # noqa: PLC0415 — in the child only

    paths = paths_in(files)
    store = Path(folder, "work.db")
    async with WorkManager(store, max_concurrent=limit, max_per_host=limit) as manager:
        await manager.enqueue(None, NativeWorker.http_upload(url=url, file_path=first_file(folder)))
        await manager.wait_idle()
        with sink.receiving(paths, url, ca_file):
            async with LagTicker() as lag:
                with Usage() as usage:
                    await manager.enqueue_all(
                        Task(None, NativeWorker.http_upload(url=url, file_path=path))
                        for path in paths
                    )
                    await manager.wait_idle()
        assert (await manager.stats()).completed == len(paths) + 1, await manager.stats()
    return {**usage.sent(paths), **lag.report()}
