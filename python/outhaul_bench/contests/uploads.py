"""Uploads over loopback, from `enqueue` to the durable `completed`."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from outhaul_bench import sink
from outhaul_bench.contest import Column, Contender, Contest, Goal, loop_goals, p99
from outhaul_bench.contests.files import mixed_sizes, served, served_files
from outhaul_bench.measure import MIB, LagTicker, Usage, paths_in

GIB = 1024 * MIB
SMALL_BYTES = 16 * 1024
SMALL_CONCURRENCY = 32
MANY = 8

LARGE_COLUMNS = (
    Column("mb_s", "MB/s"),
    Column("cpu_s", "CPU s", 2),
    Column("lag_p99_ms", "lag p99 ms", 1),
    Column("lag_max_ms", "lag max ms", 1),
    Column("rss_growth_mib", "RSS + MiB", 1),
)
_RSS = Goal("RSS growth, MiB", "rss_growth_mib", 16, at_least=False, statistic=max)
_READ_WRITE = "limit: read + write 1 MiB"
_WATCHED = Contender(
    "outhaul, its progress watched", f"{__name__}:upload", {"watched": True}, is_quick=False
)
_FREE = ("aiohttp", "httpx", "pyreqwest")  # their event loop stays free, more or less


def contests(*, tiny: bool = False) -> list[Contest]:
    size = 8 * MIB if tiny else GIB
    count = 64 if tiny else 2000
    return [_plain(size), _tls(size), _small(count), _many(size // MANY), _mixed(tiny=tiny)]


def _peer(name: str, target: str, *needs: str, is_quick: bool = False) -> Contender:
    return Contender(name, f"outhaul_bench.peers.{target}", needs=needs, is_quick=is_quick)


def _one_file(*, tls: bool) -> tuple[Contender, ...]:
    limits = [_peer(_READ_WRITE, "limits:read_write")]
    if not tls:
        limits.append(_peer("limit: sendfile", "limits:sendfile"))
    return (
        Contender("outhaul", f"{__name__}:upload"),
        _peer("aiohttp", "aiohttp_client:upload", "aiohttp", is_quick=True),
        _peer("curl", "curl:upload", "$curl", is_quick=True),
        _peer("pycurl, a thread", "pycurl_client:upload", "pycurl"),
        _peer("urllib3, a thread", "urllib3_client:upload", "urllib3"),
        _peer("httpx, a thread", "httpx_client:upload_sync", "httpx"),
        _peer("httpx", "httpx_client:upload", "httpx"),
        _peer("pyreqwest", "pyreqwest_client:upload", "pyreqwest"),
        _peer(
            "requests, toolbelt, a thread",
            "requests_toolbelt_client:upload",
            "requests",
            "requests_toolbelt",
        ),
        *limits,
    )


def _plain(size: int) -> Contest:
    return Contest(
        name="upload-plain",
        title=f"One multipart upload of {size // MIB} MiB, plain HTTP",
        contenders=(*_one_file(tls=False), _WATCHED),
        columns=LARGE_COLUMNS,
        goals=(
            Goal("throughput / aiohttp", "mb_s", 2.1, peers=("aiohttp",)),
            Goal("CPU seconds / aiohttp", "cpu_s", 0.5, at_least=False, peers=("aiohttp",)),
            Goal("throughput / curl", "mb_s", 1.0, peers=("curl",)),
            Goal("throughput / clients with a free loop", "mb_s", 1.0, peers=_FREE),
            Goal("throughput / read + write", "mb_s", 0.9, peers=(_READ_WRITE,)),
            Goal("with progress / without", "mb_s", 0.99, peers=("outhaul",), of=_WATCHED.name),
            _RSS,
            *loop_goals(),
        ),
        setup=lambda workshop: served(workshop, size),
        rounds=5,
    )


def _tls(size: int) -> Contest:
    return Contest(
        name="upload-tls",
        title=f"One multipart upload of {size // MIB} MiB, TLS 1.3",
        contenders=_one_file(tls=True),
        columns=LARGE_COLUMNS,
        goals=(
            Goal("throughput / aiohttp", "mb_s", 2.0, peers=("aiohttp",)),
            Goal("throughput / curl and pycurl", "mb_s", 1.0, peers=("curl", "pycurl, a thread")),
            _RSS,
            *loop_goals(),
        ),
        setup=lambda workshop: served(workshop, size, tls=True),
        rounds=5,
    )


def _small(count: int) -> Contest:
    return Contest(
        name="upload-small",
        title=f"{count} multipart uploads of 16 KiB, {SMALL_CONCURRENCY} at a time",
        contenders=(
            Contender("outhaul", f"{__name__}:upload_all"),
            _peer("aiohttp", "aiohttp_client:upload_many", "aiohttp", is_quick=True),
            _peer("curl", "curl:upload_many", "$curl", is_quick=True),
            _peer("pyreqwest", "pyreqwest_client:upload_many", "pyreqwest"),
        ),
        columns=(Column("files_s", "files/s"), *LARGE_COLUMNS[1:]),
        goals=(
            Goal("files/s / aiohttp", "files_s", 5, peers=("aiohttp",)),
            Goal("files/s / pyreqwest", "files_s", 1.5, peers=("pyreqwest",)),
            *loop_goals(),
        ),
        setup=lambda workshop: served(workshop, SMALL_BYTES, count=count),
        rounds=5,
    )


def _many(size: int) -> Contest:
    limit = {"limit": MANY}
    return Contest(
        name="upload-many",
        title=f"{MANY} multipart uploads of {size // MIB} MiB at once",
        contenders=(
            Contender("outhaul", f"{__name__}:upload_all", limit),
            _peer("aiohttp", "aiohttp_client:upload_many", "aiohttp", is_quick=True),
            _peer("pyreqwest", "pyreqwest_client:upload_many", "pyreqwest"),
        ),
        columns=LARGE_COLUMNS,
        goals=(
            Goal("throughput / aiohttp", "mb_s", 2.5, peers=("aiohttp",)),
            Goal("loop lag p99, ms", "late_ms", 3, at_least=False, statistic=p99),
        ),
        setup=lambda workshop: served(workshop, size, count=MANY),
        rounds=5,
    )


def _mixed(*, tiny: bool) -> Contest:
    sizes = mixed_sizes(20 if tiny else 400, 64 * 1024 if tiny else 16 * MIB)
    return Contest(
        name="upload-mixed",
        title=f"{len(sizes)} multipart uploads, 1 B to {max(sizes) // 1024:,} KiB, 32 at a time",
        contenders=(
            Contender("outhaul", f"{__name__}:upload_all"),
            _peer("aiohttp", "aiohttp_client:upload_many", "aiohttp"),
            _peer("pyreqwest", "pyreqwest_client:upload_many", "pyreqwest"),
        ),
        columns=(Column("files_s", "files/s"), *LARGE_COLUMNS),
        goals=loop_goals(),
        setup=lambda workshop: served_files(workshop, "files-mixed", sizes),
        rounds=5,
        is_quick=False,
    )


async def upload(
    url: str, files: str, ca_file: str, folder: str, *, watched: bool = False
) -> dict[str, Any]:
    """From `enqueue` to the durable `completed`."""
    from outhaul import NativeWorker, WorkManager  # noqa: PLC0415 — in the child only

    path = paths_in(files)[0]
    store = Path(folder, "work.db")
    async with WorkManager(store, ca_file=ca_file or None) as manager, LagTicker() as lag:
        worker = NativeWorker.http_upload(url=url, file_path=path)
        with Usage() as usage:
            task = await manager.enqueue(None, worker)
            updates = len([update async for update in task.progress()]) if watched else 0
            event = await task.result()
        assert event.success, event
        assert bool(updates) == watched
    size = path.stat().st_size
    assert sink.totals(url, ca_file)["body_bytes"] >= size
    return {"mb_s": size / usage.wall_s / 1e6, **usage.report(), **lag.report()}


async def upload_all(
    url: str, files: str, ca_file: str, folder: str, limit: int = SMALL_CONCURRENCY
) -> dict[str, Any]:
    """From `enqueue_all` to the last durable `completed`."""
    from outhaul import NativeWorker, Task, WorkManager  # noqa: PLC0415 — in the child only

    paths = paths_in(files)
    size = sum(path.stat().st_size for path in paths)
    store = Path(folder, "work.db")
    async with (
        WorkManager(store, max_concurrent=limit, max_per_host=limit) as manager,
        LagTicker() as lag,
    ):
        with Usage() as usage:
            await manager.enqueue_all(
                Task(None, NativeWorker.http_upload(url=url, file_path=path)) for path in paths
            )
            await manager.wait_idle()
        assert (await manager.stats()).completed == len(paths), await manager.stats()
    assert sink.totals(url, ca_file)["requests"] >= len(paths)
    speed = {"files_s": len(paths) / usage.wall_s, "mb_s": size / usage.wall_s / 1e6}
    return {**speed, **usage.report(), **lag.report()}
