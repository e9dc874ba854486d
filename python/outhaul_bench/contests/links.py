"""One upload over a slow, distant link: what users have.

Everybody fills the link, so what counts is what that costs them, and their event loop.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterator

from outhaul_bench import link
from outhaul_bench.contest import ABOUT, Arguments, Column, Contest, Goal, Workshop, loop_goals
from outhaul_bench.contests import clients
from outhaul_bench.contests.files import served
from outhaul_bench.contests.uploads import LARGE_COLUMNS, OUTHAUL, RSS
from outhaul_bench.measure import MIB


def contests(*, tiny: bool = False) -> list[Contest]:
    """Over TLS: plain HTTP does not leave a host."""
    size = MIB if tiny else 128 * MIB
    return [
        Contest(
            name="upload-link",
            title=f"One multipart upload of {size // MIB} MiB, TLS 1.3, "
            f"{link.MB_S} MB/s and {link.ROUND_TRIP_MS} ms there and back",
            contenders=(
                OUTHAUL,
                clients.AIOHTTP,
                clients.AIOHTTP_ASYNCIO,
                clients.AIOFASTNET,
                clients.PYCURL,
                clients.URLLIB3,
                clients.HTTPX,
                clients.PYREQWEST,
                clients.PYREQWEST_PIECES,
                clients.NIQUESTS,
                clients.OPENSSL,
            ),
            # The picture is of the first column: everybody's speed is the link's.
            columns=(Column("cpu_s_gib", "CPU s a GiB", 2), LARGE_COLUMNS[0], *LARGE_COLUMNS[2:]),
            goals=(
                Goal(
                    "CPU seconds a GiB / aiohttp",
                    "cpu_s_gib",
                    1,
                    at_least=False,
                    peers=("aiohttp",),
                ),
                RSS,
                *loop_goals(),
            ),
            setup=lambda workshop: _far(workshop, size),
            rounds=3,
            is_quick=False,
            within=link.WITHIN_CLIENT,
        )
    ]


@contextlib.contextmanager
def _far(workshop: Workshop, size: int) -> Iterator[Arguments]:
    with (
        link.running() as kind,
        served(workshop, size, tls=True, within=link.WITHIN_SERVER) as arguments,
    ):
        yield {**arguments, ABOUT: {"link": kind}}
