"""P1 and section 1 of the store's promises: what survives power loss, and what shows that it does.

The cut is modelled by `power.py`: whatever no sync has made durable is lost, or torn by sectors.
"""

from __future__ import annotations

import asyncio
import os
import random
from typing import TYPE_CHECKING

import msgspec
import pytest
from tests.crash.power import Machine
from tests.crash.processes import Child
from tests.crash.stored import assert_sound, copy_of, endings, rows, task_ids
from tests.crash.uploader import Plan

from outhaul.testing import Answer, FlakyServer

if TYPE_CHECKING:
    from pathlib import Path

LONG = "OUTHAUL_KILLS" in os.environ
ROUNDS = range(100 if LONG else 1)
CUTS_A_ROUND = 6
# Making the file and its tables, the first commits, closing: some forty syncs.
FIRST_SYNCS = range(1, 100) if LONG else (1, 2, 3, 5, 8, 13, 21, 34, 99)
FILES = 60
FAILURES = (Answer(status=503), Answer(drop_after_bytes=1000))


class House:
    """A machine, and what its processes told before the lights went out."""

    def __init__(self, tmp_path: Path, chance: random.Random, *, files: int = FILES) -> None:
        self.chance = chance
        self.machine = Machine(tmp_path)
        self.files = tmp_path / "files"
        self.copies = tmp_path / "copies"
        self.files.mkdir()
        for number in range(files):
            (self.files / f"{number:03}").write_bytes(chance.randbytes(chance.randrange(20_000)))
        self.plan = Plan(store=str(self.machine.store), files=str(self.files), url="")
        self.acknowledged: set[str] = set()
        self.ended: set[str] = set()

    async def live(
        self, *, lines_max: int | None = None, moment_s: float = 0.02, cut_at: int | None = None
    ) -> int:
        """One life, killed after so many lines and a moment, or where it makes its n-th sync."""
        plan = msgspec.structs.replace(self.plan, known=sorted(self.acknowledged))
        argument = msgspec.json.encode(plan).decode()
        env = self.machine.env(cut_at=cut_at)
        heard = 0
        async with Child("tests.crash.uploader", argument, env=env) as child:
            async for line in child.lines():
                self.hear(line)
                heard += 1
                if heard == lines_max:
                    await asyncio.sleep(self.chance.uniform(0, moment_s))
                    child.kill()
            return await child.wait()

    def hear(self, line: list[str]) -> None:
        if line[0] == "ack":
            self.acknowledged.add(line[1])
        elif line[0] == "ended":
            assert line[2] == "completed", line
            self.ended.add(line[1])

    def cut_power(self, *, spared: float) -> None:
        self.machine.cut(self.chance, spared=spared)

    def copy(self) -> Path | None:
        """What is left, to be looked at; `None` while there are no tables."""
        if not self.machine.store.exists():
            return None
        copy = copy_of(self.machine.store, self.copies)
        tables = rows(copy, "SELECT 1 FROM sqlite_schema WHERE name = 'event'")
        return copy if tables else None

    def assert_kept(self) -> None:
        """Whatever a process has told is true: what is stored, and what has ended."""
        copy = self.copy()
        if copy is None:
            assert not self.acknowledged
            return
        assert_sound(copy)
        assert self.acknowledged <= set(task_ids(copy))
        assert self.ended <= endings(copy).keys()


@pytest.mark.timeout(120)
@pytest.mark.parametrize("seed", ROUNDS)
def test_what_was_told_is_true_after_power_cuts_at_any_moment(tmp_path: Path, seed: int) -> None:
    async def run() -> None:
        house = House(tmp_path, random.Random(seed))
        async with FlakyServer(failure_rate=0.2, failures=FAILURES, seed=seed) as server:
            house.plan = msgspec.structs.replace(house.plan, url=server.url)
            for _ in range(CUTS_A_ROUND):
                await house.live(lines_max=house.chance.randrange(1, 60))
                house.cut_power(spared=house.chance.choice([0, 0.5, 0.95]))
                house.assert_kept()
            assert await house.live() == 0
            # After a close in good order there is less to lose, not more.
            house.cut_power(spared=0)
            house.assert_kept()
            assert len(house.ended) == FILES

    asyncio.run(run())


@pytest.mark.timeout(180)
def test_a_store_opens_after_a_power_cut_at_any_of_its_first_syncs(tmp_path: Path) -> None:
    async def run() -> None:
        for cut_at in FIRST_SYNCS:
            folder = tmp_path / str(cut_at)
            folder.mkdir()
            house = House(folder, random.Random(cut_at), files=2)
            house.plan = msgspec.structs.replace(house.plan, then="close", ballast_bytes=100)
            status = await house.live(cut_at=cut_at)
            house.cut_power(spared=house.chance.choice([0, 0.5]))
            house.assert_kept()
            if status == 0:
                assert cut_at > 3, "the syncs are not seen"
                return
            assert await house.live() == 0
            house.assert_kept()
            assert len(house.acknowledged) == 2
        raise AssertionError("no run made all its syncs")

    asyncio.run(run())


@pytest.mark.timeout(120)
@pytest.mark.parametrize("seed", ROUNDS)
def test_a_power_cut_while_the_wal_moves_into_the_file_loses_nothing(
    tmp_path: Path, seed: int
) -> None:
    async def run() -> None:
        house = House(tmp_path, random.Random(seed), files=40)
        # 4 MiB of WAL start a checkpoint: from the 7th task on, one follows the other.
        house.plan = msgspec.structs.replace(
            house.plan, ballast_bytes=600_000, then="hang", callers=1
        )
        await house.live(lines_max=house.chance.randrange(29, 40), moment_s=0.05)
        house.cut_power(spared=house.chance.choice([0, 0.5, 0.95]))
        house.assert_kept()
        assert len(house.acknowledged) >= 25
        house.plan = msgspec.structs.replace(house.plan, then="close", callers=32)
        assert await house.live() == 0
        house.cut_power(spared=0)
        house.assert_kept()

    asyncio.run(run())


def test_with_durability_os_the_same_cut_takes_what_was_acknowledged(tmp_path: Path) -> None:
    """Shows that the tests above would notice, and what `durability="os"` gives up."""

    async def run() -> None:
        house = House(tmp_path, random.Random(0))
        house.plan = msgspec.structs.replace(
            house.plan, durability="os", run=False, ballast_bytes=100, then="hang"
        )
        await house.live(lines_max=FILES)
        assert len(house.acknowledged) >= FILES - 1
        house.cut_power(spared=0)
        copy = house.copy()
        left = set() if copy is None else set(task_ids(copy))
        assert house.acknowledged - left, "nothing was lost: is the model of a power cut dead?"
        # What is left is a sound store all the same.
        house.acknowledged = left
        house.plan = msgspec.structs.replace(house.plan, then="close")
        assert await house.live() == 0
        house.assert_kept()

    asyncio.run(run())
