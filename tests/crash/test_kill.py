"""F-01, P1-P3: whatever moment the process is killed at, nothing acknowledged is lost."""

from __future__ import annotations

import asyncio
import collections
import hashlib
import os
import random
import signal
from typing import TYPE_CHECKING

import msgspec
import pytest
from tests.crash.processes import Child
from tests.crash.stored import COMPLETED_EVENT, assert_sound, copy_of, endings, rows, task_ids
from tests.crash.uploader import Plan

from outhaul import TaskStatus
from outhaul.testing import Answer, FlakyServer

if TYPE_CHECKING:
    from pathlib import Path

FILES = 200
KILLS_A_BATCH = 10
BATCHES = -(-int(os.environ.get("OUTHAUL_KILLS", "20")) // KILLS_A_BATCH)
FAILURES = (Answer(status=503), Answer(drop_after_bytes=1000), Answer(status=503, delay_s=0.05))


def write_files(folder: Path, chance: random.Random) -> dict[str, str]:
    """Files of many sizes, most of them small: their digests by name."""
    folder.mkdir()
    digests = {}
    for number in range(FILES):
        size = chance.choice([0, 1, 999, 1000, chance.randrange(20_000), chance.randrange(400_000)])
        content = chance.randbytes(size)
        name = f"{number:03}.bin"
        (folder / name).write_bytes(content)
        digests[name] = hashlib.sha256(content).hexdigest()
    return digests


class Batch:
    """One store and what its processes have told so far."""

    def __init__(self, tmp_path: Path, url: str, chance: random.Random) -> None:
        self.chance = chance
        self.store = tmp_path / "work.db"
        self.plan = Plan(store=str(self.store), files=str(tmp_path / "files"), url=url)
        self.acknowledged: set[str] = set()
        self.shown: dict[str, int] = collections.defaultdict(int)  # percent by key

    async def live(self, *, lines_max: int | None) -> int:
        """One life of the process: killed after so many lines and a moment; its exit status."""
        loop = self.chance.choice(["asyncio", "uvloop"])
        plan = msgspec.structs.replace(self.plan, known=sorted(self.acknowledged), loop=loop)
        heard = 0
        async with Child("tests.crash.uploader", msgspec.json.encode(plan).decode()) as child:
            if lines_max == 0:  # while it starts, opens the store, or rescues
                await asyncio.sleep(self.chance.uniform(0.15, 0.6))
                child.kill()
            async for line in child.lines():
                self.hear(line)
                heard += 1
                if heard == lines_max:
                    await asyncio.sleep(self.chance.uniform(0, 0.02))
                    child.kill()
            return await child.wait()

    def hear(self, line: list[str]) -> None:
        if line[0] == "ack":
            self.acknowledged.add(line[1])
        elif line[0] == "percent":
            key, percent = line[1], int(line[2])
            before = self.shown[key]
            assert percent >= before, f"{key} went back from {before} % to {percent} % (P6)"
            self.shown[key] = percent
        elif line[0] == "ended":
            assert line[2] == "completed", line


@pytest.mark.timeout(120)
@pytest.mark.parametrize("seed", range(BATCHES))
def test_whatever_the_moment_of_a_kill_each_acknowledged_upload_is_done(
    tmp_path: Path, seed: int
) -> None:
    chance = random.Random(seed)
    digests = write_files(tmp_path / "files", chance)

    async def run() -> None:
        async with FlakyServer(failure_rate=0.25, failures=FAILURES, seed=seed) as server:
            batch = Batch(tmp_path, server.url, chance)
            killed = 0
            for life in range(KILLS_A_BATCH):
                anywhere = chance.choice([0, chance.randrange(1, 150)])
                # The first dies early for sure, however fast the work is done.
                status = await batch.live(lines_max=anywhere if life else 1)
                killed += status == -signal.SIGKILL
                if batch.store.exists():
                    assert_all_stored(batch, tmp_path / "copy")
            assert killed, "every process was done before its time"
            assert await batch.live(lines_max=None) == 0
            assert batch.acknowledged == set(digests)
            assert_all_done(batch, server, digests)

    asyncio.run(run())


@pytest.mark.timeout(60)
def test_no_process_shows_less_progress_than_one_before_that_was_killed(tmp_path: Path) -> None:
    """P6. The uploads above are too short to be seen under way."""
    (tmp_path / "files").mkdir()
    for name in "abcd":
        (tmp_path / "files" / name).touch()
        os.truncate(tmp_path / "files" / name, 30_000_000)

    async def run() -> None:
        async with FlakyServer(bytes_per_s=50e6) as server:
            batch = Batch(tmp_path, server.url, random.Random(1))
            for life in range(1, 4):
                assert await batch.live(lines_max=5 + 7 * life) == -signal.SIGKILL
                assert any(0 < percent < 100 for percent in batch.shown.values())
            assert await batch.live(lines_max=None) == 0
            assert list(batch.shown.values()) == [100] * 4

    asyncio.run(run())


def assert_all_stored(batch: Batch, folder: Path) -> None:
    """P1: right after the kill, in what the process left behind."""
    copy = copy_of(batch.store, folder)
    if rows(copy, "SELECT 1 FROM sqlite_schema WHERE name = 'event'"):
        assert_sound(copy)
        assert batch.acknowledged <= set(task_ids(copy))
    else:
        assert not batch.acknowledged


def assert_all_done(batch: Batch, server: FlakyServer, digests: dict[str, str]) -> None:
    assert_sound(batch.store)
    # P2: each is stored once, has ended, and its log says so once.
    assert sorted(task_ids(batch.store)) == sorted(digests)
    assert endings(batch.store) == dict.fromkeys(digests, TaskStatus.COMPLETED)
    ends = f"""
        SELECT count(*) FROM event
        JOIN task ON task.key BETWEEN event.key AND event.key + event.more
        WHERE kind = {COMPLETED_EVENT} GROUP BY task.key"""
    assert rows(batch.store, ends) == [(1,)] * len(digests)
    # The right bytes, all of them.
    assert {name: file.sha256 for name, file in server.files.items()} == digests
    # P3: every attempt of a task carried its one key, and no two tasks share one.
    keys = collections.defaultdict(set)
    for request in server.requests:
        if request.filename:  # else it was cut before the name arrived
            keys[request.filename].add(request.idempotency_key)
    assert [len(of_one) for of_one in keys.values()] == [1] * len(digests)
    assert len(set.union(*keys.values())) == len(digests)
