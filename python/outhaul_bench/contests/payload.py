"""The payload in a user's own aiohttp session, against aiohttp's own form: 1 GiB, plain and TLS."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from outhaul_bench import sink
from outhaul_bench.contest import Contender, Contest, Goal, loop_goals
from outhaul_bench.contests import clients
from outhaul_bench.contests.files import served
from outhaul_bench.contests.uploads import LARGE_COLUMNS
from outhaul_bench.measure import GIB, MIB, LagTicker, Usage, first_file, paths_in


def contests(*, tiny: bool = False) -> list[Contest]:
    size = 8 * MIB if tiny else GIB
    return [_plain(size), _tls(size)]


_CONTENDERS = (
    Contender("outhaul", f"{__name__}:upload"),
    clients.AIOHTTP,
    clients.AIOHTTP_PIECES,
)

_FORMS = (clients.AIOHTTP.name, clients.AIOHTTP_PIECES.name)


def _plain(size: int) -> Contest:
    return Contest(
        name="payload-plain",
        title=f"{size // MIB} MiB in an aiohttp session, plain HTTP: MultipartPayload or FormData",
        contenders=_CONTENDERS,
        columns=LARGE_COLUMNS,
        goals=(
            Goal("throughput / aiohttp", "mb_s", 1.5, peers=_FORMS),
            Goal("CPU seconds / aiohttp", "cpu_s", 0.6, at_least=False, peers=_FORMS),
            Goal("RSS growth, MiB", "rss_growth_mib", 16, at_least=False, statistic=max),
            *loop_goals(),
        ),
        setup=lambda workshop: served(workshop, size),
        rounds=9,
    )


def _tls(size: int) -> Contest:
    """No goal for the throughput: there it is the encryption, in the same thread for both."""
    return Contest(
        name="payload-tls",
        title=f"{size // MIB} MiB in an aiohttp session, TLS 1.3: MultipartPayload or FormData",
        contenders=_CONTENDERS,
        columns=LARGE_COLUMNS,
        goals=(
            Goal("RSS growth, MiB", "rss_growth_mib", 16, at_least=False, statistic=max),
            *loop_goals(),
        ),
        setup=lambda workshop: served(workshop, size, tls=True),
        rounds=5,
    )


async def upload(url: str, files: str, ca_file: str, folder: str) -> dict[str, Any]:
    """The peer's session, the same file: only the body is another."""
    from outhaul.aiohttp import FilePart, MultipartPayload  # noqa: PLC0415
    from outhaul_bench.peers.aiohttp_client import session_for  # noqa: PLC0415 — in the child only

    path = paths_in(files)[0]
    async with session_for(ca_file) as session:

        async def send(path: Path) -> None:
            part = FilePart("file", path, content_type="application/octet-stream")
            async with session.post(url, data=MultipartPayload([part])) as answer:
                assert answer.status == 200
                await answer.read()

        await send(first_file(folder))
        with sink.receiving([path], url, ca_file):
            async with LagTicker() as lag:
                with Usage() as usage:
                    await send(path)
    return {**usage.sent([path]), **lag.report()}
