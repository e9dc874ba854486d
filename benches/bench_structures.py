"""The core from Python beside what one would use there: fixed seed, the work asserted.

`.venv/bin/python -m pytest benches/bench_structures.py` times them; a group is one question.
"""

from __future__ import annotations

import heapq
import random
from pathlib import Path
from typing import Any

import aiohttp
import pytest
from requests_toolbelt import MultipartEncoder as ToolbeltEncoder
from sortedcontainers import SortedList

from outhaul._native import MultipartEncoder, ProgressMeter, Schedule

SIZES = [1_000, 10_000, 100_000]
MIB = 1024 * 1024


def shuffled(n: int) -> list[int]:
    numbers = list(range(n))
    random.Random(7).shuffle(numbers)
    return numbers


class HeapAndDict:
    """heapq with the dictionary that cancelling needs: what is cancelled stays until its turn."""

    def __init__(self) -> None:
        self._heap: list[tuple[int, int]] = []
        self._live: dict[int, int] = {}

    def push(self, task: int, due: int) -> None:
        self._live[task] = due
        heapq.heappush(self._heap, (due, task))

    def cancel(self, task: int) -> bool:
        return self._live.pop(task, None) is not None

    def drain(self) -> list[int]:
        drained = []
        while self._heap:
            due, task = heapq.heappop(self._heap)
            if self._live.pop(task, None) == due:
                drained.append(task)
        return drained


class Sorted:
    """sortedcontainers: cancelling finds its place by bisection."""

    def __init__(self) -> None:
        self._list: Any = SortedList()
        self._due: dict[int, int] = {}

    def push(self, task: int, due: int) -> None:
        self._due[task] = due
        self._list.add((due, task))

    def cancel(self, task: int) -> bool:
        due = self._due.pop(task, None)
        if due is None:
            return False
        self._list.remove((due, task))
        return True

    def drain(self) -> list[int]:
        return [self._list.pop(0)[1] for _ in range(len(self._list))]


class Ours:
    def __init__(self) -> None:
        self._schedule = Schedule()

    def push(self, task: int, due: int) -> None:
        self._schedule.push(task, due_ms=due)

    def cancel(self, task: int) -> bool:
        return self._schedule.cancel(task)

    def drain(self) -> list[int]:
        return self._schedule.pop_due(now_ms=2**40, limit=2**31)


@pytest.mark.parametrize("n", SIZES)
@pytest.mark.parametrize("kind", [Ours, HeapAndDict, Sorted])
@pytest.mark.benchmark(group="push all, cancel a tenth, take the rest in order", warmup=False)
def test_schedule(benchmark: Any, kind: type[Ours | HeapAndDict | Sorted], n: int) -> None:
    dues = shuffled(n)

    def run() -> list[int]:
        queue = kind()
        for task, due in enumerate(dues):
            queue.push(task, due + 1)
        for task in range(0, n, 10):
            assert queue.cancel(task)
        return queue.drain()

    drained = benchmark.pedantic(run, rounds=3)
    assert len(drained) == n - n // 10
    assert [dues[task] for task in drained] == sorted(dues[task] for task in drained)


@pytest.fixture(scope="module")
def file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("body") / "a.bin"
    path.write_bytes(random.Random(7).randbytes(64 * MIB))
    return path


def by_outhaul(file: Path) -> int:
    encoder = MultipartEncoder([("title", "a"), ("file", str(file), None, None)])
    at = 0
    while piece := encoder.read_at(at, MIB):
        at += len(piece)
    assert at == encoder.content_length
    return at


def by_toolbelt(file: Path) -> int:
    with file.open("rb") as opened:
        encoder = ToolbeltEncoder({"title": "a", "file": ("a.bin", opened)})
        length: int = encoder.len
        at = 0
        while piece := encoder.read(MIB):
            at += len(piece)
    assert at == length
    return at


class Counter(aiohttp.abc.AbstractStreamWriter):
    """Where aiohttp writes to."""

    def __init__(self) -> None:
        self.count = 0

    async def write(self, chunk: Any) -> None:
        self.count += len(chunk)

    async def write_eof(self, chunk: bytes = b"") -> None: ...
    async def drain(self) -> None: ...
    def enable_compression(self, *_: Any, **__: Any) -> None: ...
    def enable_chunking(self) -> None: ...
    async def write_headers(self, *_: Any) -> None: ...


def by_aiohttp(file: Path) -> int:
    import asyncio  # noqa: PLC0415 — only this one has a loop

    async def write() -> int:
        with file.open("rb") as opened:
            form = aiohttp.FormData()
            form.add_field("title", "a")
            form.add_field("file", opened, filename="a.bin")
            counter = Counter()
            await form().write(counter)
            return counter.count

    return asyncio.run(write())


@pytest.mark.parametrize("by", [by_outhaul, by_aiohttp, by_toolbelt])
@pytest.mark.benchmark(group="a form with a file of 64 MiB, read to its end", warmup=False)
def test_encoder(benchmark: Any, by: Any, file: Path) -> None:
    assert benchmark.pedantic(by, args=(file,), rounds=3) > 64 * MIB


class PlainMeter:
    """A percentage as one writes it: an update for each that is new."""

    def __init__(self, total: int) -> None:
        self._total, self._said = total, -1

    def sent(self, count: int, _: int) -> int | None:
        percent = count * 100 // self._total
        if percent == self._said:
            return None
        self._said = percent
        return percent


@pytest.mark.parametrize("kind", ["outhaul", "plain Python"])
@pytest.mark.benchmark(group="a GiB counted by 64 KiB", warmup=False)
def test_progress(benchmark: Any, kind: str) -> None:
    total, step = 1024 * MIB, 64 * 1024

    def run() -> int:
        if kind == "outhaul":
            meter = ProgressMeter(total, interval_min_ms=0)
            meter.begin(now_ms=0)
            said = (meter.sent(at, now_ms=at // step) for at in range(step, total + 1, step))
        else:
            plain = PlainMeter(total)
            said = (plain.sent(at, 0) for at in range(step, total + 1, step))
        return sum(update is not None for update in said)

    assert 90 <= benchmark.pedantic(run, rounds=3) <= 101
