"""The demonstration: uploads that a failing server and a `kill -9` cannot stop.

    python -m demo.run [--small]

Makes a dozen files, starts a server that refuses and drops, and a program that uploads; kills
that program in the middle, starts it again, and checks at the end that every file arrived whole
and once. `--small` makes the larger files and the server's speed a tenth.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import sys
import tempfile
import time
from collections import Counter
from pathlib import Path
from typing import TYPE_CHECKING, Final

import msgspec
from rich.console import Console
from rich.table import Table
from rich.text import Text

from demo import files
from demo.server import Progress, Received
from demo.uploads import UNDER_WAY_MAX
from outhaul.human import bytes_human

if TYPE_CHECKING:
    from asyncio.subprocess import Process
    from collections.abc import AsyncIterator, Sequence

TIMEOUT_S: Final = 120
BYTES_PER_S: Final = 80_000_000
SMALL: Final = 10
_PROGRESS: Final = msgspec.json.Decoder(Progress)
_REPORT: Final = msgspec.json.Decoder(list[Received])
_ROOT: Final = Path(__file__).parent.parent
_SHOW_CURSOR: Final = "\x1b[?25h"


class Server:
    """The server's process, as this one sees it."""

    def __init__(self, process: Process, url: str) -> None:
        self.url = url
        self._process = process

    async def progress(self) -> Progress | None:
        """What it says next; `None` when it says no more."""
        line = await _line(self._process)
        return _PROGRESS.decode(line) if line.startswith(b"{") else None

    async def report(self) -> list[Received]:
        """Stops it; what it received."""
        assert self._process.stdin is not None
        self._process.stdin.close()
        while (line := await _line(self._process)).startswith(b"{"):
            pass
        return _REPORT.decode(line)


async def _line(process: Process) -> bytes:
    assert process.stdout is not None
    return await process.stdout.readline()


@contextlib.asynccontextmanager
async def started(module: str, *arguments: str, piped: bool = False) -> AsyncIterator[Process]:
    """A process of ours, gone when the block is left."""
    pipe = asyncio.subprocess.PIPE if piped else None
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-m", module, *arguments, stdin=pipe, stdout=pipe, cwd=_ROOT, limit=2**24
    )
    try:
        yield process
    finally:
        if process.returncode is None:
            process.kill()
        await process.wait()


async def kill_in_the_middle(
    uploads: Process, server: Server, console: Console, kill_at: int
) -> bool:
    """Kills it when so much has arrived and the large file is under way, if it comes to that."""
    while uploads.returncode is None and (progress := await server.progress()):
        if progress.bytes_received >= kill_at and progress.large_bytes:
            uploads.kill()
            await uploads.wait()
            if console.is_terminal:
                console.file.write(_SHOW_CURSOR)  # its bars had hidden it
            console.rule(
                f"kill -9 after {bytes_human(progress.bytes_received)}, "
                f"{bytes_human(progress.large_bytes)} into the large file"
            )
            return True
    return False


async def demonstrate(folder: Path, console: Console, divisor: int) -> bool:
    """The whole story; whether it ended well."""
    total = sum(files.sizes(divisor))
    console.print(f"{len(files.FILES)} files, {bytes_human(total)}, are being made …")
    (folder / "files").mkdir()
    sources = await asyncio.to_thread(files.make, folder / "files", divisor)
    speed = BYTES_PER_S // divisor
    async with started("demo.server", str(speed), piped=True) as process:
        server = Server(process, msgspec.json.decode(await _line(process)))
        words = (str(folder / "work.db"), str(folder / "files"), server.url)
        began = time.monotonic()
        console.rule("an application uploads them to a server that fails")
        async with started("demo.uploads", *words) as uploads:
            killed = await kill_in_the_middle(uploads, server, console, total // 3)
        if not killed:
            console.print("the uploads ended before they could be killed")
            return False
        console.rule("it is started again")
        async with started("demo.uploads", *words) as uploads:
            status = await uploads.wait()
        elapsed_s = time.monotonic() - began
        received = await server.report()
    console.rule("what the server says")
    good = tabulate(sources, received, console) and status == 0
    outcomes = Counter(request.outcome for request in received)
    console.print(
        f"\n{len(sources)} files, {bytes_human(total)}, in {elapsed_s:.1f} s: "
        f"{bytes_human(total / elapsed_s)}/s from a server that reads "
        f"{bytes_human(speed)}/s at most.\n"
        f"Requests refused: {outcomes['refused']}, connections dropped: {outcomes['dropped']}, "
        f"process killed: once, with {outcomes['cut']} under way.",
        highlight=False,
    )
    verdict = "Every file arrived, whole, once." if good else "SOMETHING IS WRONG."
    console.print(verdict, style="bold green" if good else "bold red")
    return good


def tabulate(
    sources: Sequence[files.Source], received: Sequence[Received], console: Console
) -> bool:
    """Writes the table; whether every file arrived whole, once, under one key."""
    table = Table(box=None, pad_edge=False)
    table.add_column("file", no_wrap=True)
    for heading in ("size", "attempts", "refused", "dropped", "cut", "arrived", "SHA-256"):
        table.add_column(heading, justify="right")
    good = True
    for number, source in enumerate(sources):
        requests = [request for request in received if request.number == number]
        verdict = judge(source, requests)
        good = good and verdict == "equal"
        outcomes = Counter(request.outcome for request in requests)
        table.add_row(
            Text(source.name),
            bytes_human(source.size),
            *(str(count or "") for count in (len(requests), *map(outcomes.get, _OUTCOMES))),
            verdict,
        )
    console.print(table)
    accepted = Counter(request.number for request in received if request.outcome == "accepted")
    twice = sum(count > 1 for count in accepted.values())
    if twice:
        console.print(f"{twice} answered before the kill and not noted yet: sent again, one key.")
    return good and twice <= UNDER_WAY_MAX


_OUTCOMES: Final = ("refused", "dropped", "cut", "accepted")


def judge(source: files.Source, requests: Sequence[Received]) -> str:
    """What became of a file: `equal`, or what is wrong.

    A kill between the server's answer and our commit makes a request come twice. The key tells the
    server that it is the same one: that is what "once" means, and all that anybody can promise.
    """
    accepted = [request for request in requests if request.outcome == "accepted"]
    if not accepted:
        return "MISSING"
    if len(accepted) > 2:
        return "TOO OFTEN"
    if len({request.key for request in requests}) != 1 or not requests[0].key:
        return "TWO KEYS"
    if any((each.size, each.sha256) != (source.size, source.sha256) for each in accepted):
        return "DIFFERENT"
    return "equal"


async def _within_time(folder: Path, console: Console, divisor: int) -> bool:
    async with asyncio.timeout(TIMEOUT_S):
        return await demonstrate(folder, console, divisor)


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m demo.run")
    parser.add_argument("--small", action="store_true", help="a tenth of the bytes")
    divisor = SMALL if parser.parse_args().small else 1
    console = Console()
    with tempfile.TemporaryDirectory(prefix="outhaul-demo-") as folder:
        try:
            return 0 if asyncio.run(_within_time(Path(folder), console, divisor)) else 1
        except TimeoutError:
            console.print(f"not done after {TIMEOUT_S} s", style="bold red")
            return 1
        except KeyboardInterrupt:
            if console.is_terminal:
                console.file.write(_SHOW_CURSOR)
            console.print("\nstopped")
            return 130


if __name__ == "__main__":
    sys.exit(main())
