"""The server, in its own process: slow, in a bad mood, and it counts.

    python -m demo.server BYTES_PER_S

It writes one JSON object a line: first its URL, then how far it is, ten times a second. When its
input ends it writes what it received, and leaves.
"""

from __future__ import annotations

import asyncio
import contextlib
import signal
import sys
from typing import Final

import msgspec

from demo.files import LARGE
from outhaul.testing import Answer, FlakyServer, ReceivedRequest

FAILURE_RATE: Final = 0.4
FAILURES: Final = (
    Answer(status=503, retry_after="1", body=b"come back in a second"),
    Answer(status=503, early=True, body=b"busy"),
    Answer(drop_after_bytes=5_000_000),
)
SEED: Final = 6
_INTERVAL_S: Final = 0.1


class Progress(msgspec.Struct, frozen=True):
    """How far the server is.

    Attributes:
        bytes_received: Of all files, with what came twice.
        large_bytes: Of the large file, in the request that is under way.
    """

    bytes_received: int
    large_bytes: int


class Received(msgspec.Struct, frozen=True):
    """One request.

    Attributes:
        number: Which file it brought.
        key: Its idempotency key.
        sha256: Of the file; empty where it did not arrive whole.
        outcome: `accepted`, `refused`, `dropped` (by the server) or `cut` (by the client).
    """

    number: int
    key: str
    size: int
    sha256: str
    outcome: str


def number_of(request: ReceivedRequest) -> int:
    return int(dict(request.fields).get("number", -1))


def outcome_of(request: ReceivedRequest) -> str:
    if request.status is None:
        return "dropped" if request.dropped else "cut"
    return "accepted" if request.status == 200 else "refused"


def progress(server: FlakyServer) -> Progress:
    large = [request for request in server.requests if number_of(request) == LARGE]
    under_way = large[-1].size if large and not large[-1].complete else 0
    return Progress(sum(request.size for request in server.requests), under_way)


def report(server: FlakyServer) -> list[Received]:
    return [
        Received(
            number=number_of(request),
            key=request.idempotency_key,
            size=request.size,
            sha256=request.sha256,
            outcome=outcome_of(request),
        )
        for request in server.requests
    ]


def say(value: object) -> None:
    print(msgspec.json.encode(value).decode(), flush=True)


async def serve(bytes_per_s: float) -> None:
    ended = asyncio.create_task(asyncio.to_thread(sys.stdin.read))
    async with FlakyServer(
        failure_rate=FAILURE_RATE, failures=FAILURES, seed=SEED, bytes_per_s=bytes_per_s
    ) as server:
        say(server.url)
        while not ended.done():
            say(progress(server))
            await asyncio.wait({ended}, timeout=_INTERVAL_S)
        say(report(server))


if __name__ == "__main__":
    # Ctrl-C reaches the whole group; this process ends when the one that started it does.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    with contextlib.suppress(BrokenPipeError):
        asyncio.run(serve(float(sys.argv[1])))
