"""Uploads over loopback: one file of 1 GiB, plain and over TLS, and 2000 small files."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from outhaul_bench import sink
from outhaul_bench.contest import Arguments, Column, Contender, Contest, Goal, Workshop, loop_goals
from outhaul_bench.measure import MIB, LagTicker, Usage, paths_in

GIB = 1024 * MIB
SMALL_BYTES = 16 * 1024
SMALL_CONCURRENCY = 32

LARGE_COLUMNS = (
    Column("mb_s", "MB/s"),
    Column("cpu_s", "CPU s", 2),
    Column("lag_p99_ms", "lag p99 ms", 1),
    Column("lag_max_ms", "lag max ms", 1),
    Column("rss_growth_mib", "RSS + MiB", 1),
)


def contests(*, tiny: bool = False) -> list[Contest]:
    size = 8 * MIB if tiny else GIB
    count = 64 if tiny else 2000
    return [_plain(size), _tls(size), _small(count)]


def _contenders(*, is_small: bool = False) -> tuple[Contender, ...]:
    verb = "upload_many" if is_small else "upload"
    return (
        Contender("outhaul", f"{__name__}:{verb}"),
        Contender("aiohttp", f"outhaul_bench.peers.aiohttp_client:{verb}", needs=("aiohttp",)),
        Contender("curl", f"outhaul_bench.peers.curl:{verb}", needs=("$curl",)),
    )


def _plain(size: int) -> Contest:
    return Contest(
        name="upload-plain",
        title=f"One multipart upload of {size // MIB} MiB, plain HTTP",
        contenders=_contenders(),
        columns=LARGE_COLUMNS,
        goals=(
            Goal("throughput / aiohttp", "mb_s", 1.9, peers=("aiohttp",)),
            Goal("CPU seconds / aiohttp", "cpu_s", 0.6, at_least=False, peers=("aiohttp",)),
            Goal("throughput / curl", "mb_s", 1.0, peers=("curl",)),
            Goal("RSS growth, MiB", "rss_growth_mib", 16, at_least=False, statistic=max),
            *loop_goals(),
        ),
        setup=lambda workshop: served(workshop, size),
        rounds=7,
    )


def _tls(size: int) -> Contest:
    return Contest(
        name="upload-tls",
        title=f"One multipart upload of {size // MIB} MiB, TLS 1.3",
        contenders=_contenders(),
        columns=LARGE_COLUMNS,
        goals=(
            Goal("throughput / aiohttp", "mb_s", 1.7, peers=("aiohttp",)),
            Goal("throughput / curl", "mb_s", 0.9, peers=("curl",)),
            Goal("RSS growth, MiB", "rss_growth_mib", 16, at_least=False, statistic=max),
            *loop_goals(),
        ),
        setup=lambda workshop: served(workshop, size, tls=True),
        rounds=5,
    )


def _small(count: int) -> Contest:
    return Contest(
        name="upload-small",
        title=f"{count} multipart uploads of 16 KiB, {SMALL_CONCURRENCY} at a time",
        contenders=_contenders(is_small=True),
        columns=(Column("files_s", "files/s"), *LARGE_COLUMNS[1:]),
        goals=(Goal("files/s / aiohttp", "files_s", 3, peers=("aiohttp",)), *loop_goals()),
        setup=lambda workshop: served(workshop, SMALL_BYTES, count=count),
        rounds=7,
    )


@contextlib.contextmanager
def served(
    workshop: Workshop, size: int, *, count: int = 1, tls: bool = False
) -> Iterator[Arguments]:
    """The files, on disk and in the page cache, and a sink to send them to."""
    files = _files(workshop.folder / f"files-{count}-{size}", size, count)
    certificate, key, ca_file = _certificate(workshop.folder) if tls else ("", "", "")
    with sink.running(certificate, key) as url:
        yield {"url": url, "files": str(files), "ca_file": ca_file}


def _files(folder: Path, size: int, count: int) -> Path:
    if not folder.exists():
        folder.mkdir()
        block = os.urandom(min(size, MIB))
        for number in range(count):
            with (folder / f"{number:05}.bin").open("wb") as file:
                for _ in range(size // len(block)):
                    file.write(block)
        os.sync()  # no write-back during the measurements
    for path in folder.iterdir():
        with path.open("rb", buffering=0) as file:
            while file.read(MIB):
                pass
    return folder


def _certificate(folder: Path) -> tuple[str, str, str]:
    import trustme  # noqa: PLC0415 — only where TLS is measured

    authority = trustme.CA()
    issued = authority.issue_cert("127.0.0.1")
    paths = [str(folder / name) for name in ("cert.pem", "key.pem", "ca.pem")]
    issued.cert_chain_pems[0].write_to_path(paths[0])
    issued.private_key_pem.write_to_path(paths[1])
    authority.cert_pem.write_to_path(paths[2])
    return paths[0], paths[1], paths[2]


async def upload(url: str, files: str, ca_file: str, folder: str) -> dict[str, Any]:
    """From `enqueue` to the durable `completed`."""
    from outhaul import NativeWorker, WorkManager  # noqa: PLC0415 — in the child only

    path = paths_in(files)[0]
    store = Path(folder, "work.db")
    async with WorkManager(store, ca_file=ca_file or None) as manager, LagTicker() as lag:
        worker = NativeWorker.http_upload(url=url, file_path=path)
        with Usage() as usage:
            task = await manager.enqueue(None, worker)
            event = await task.result()
        assert event.success, event
    size = path.stat().st_size
    assert sink.totals(url, ca_file)["body_bytes"] >= size
    return {"mb_s": size / usage.wall_s / 1e6, **usage.report(), **lag.report()}


async def upload_many(url: str, files: str, ca_file: str, folder: str) -> dict[str, Any]:
    """From `enqueue_all` to the last durable `completed`."""
    from outhaul import NativeWorker, Task, WorkManager  # noqa: PLC0415 — in the child only

    paths = paths_in(files)
    store = Path(folder, "work.db")
    limit = SMALL_CONCURRENCY
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
    return {"files_s": len(paths) / usage.wall_s, **usage.report(), **lag.report()}
