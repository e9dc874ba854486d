"""Power cuts: a process loses what it has not synced, also what the kernel already had."""

from __future__ import annotations

import shutil
import subprocess
from typing import TYPE_CHECKING, Final

import pytest
from tests.crash.processes import ROOT

if TYPE_CHECKING:
    import random
    from pathlib import Path

SECTOR_BYTES: Final = 512


class Machine:
    """A directory whose power can be cut once no process uses it."""

    def __init__(self, tmp_path: Path) -> None:
        compiler = shutil.which("cc")
        if compiler is None:
            pytest.skip("there is no C compiler (cc) to build the power cut with")
        self.folder = tmp_path / "machine"
        self.folder.mkdir()
        self.store = self.folder / "work.db"
        self.disk = tmp_path / "disk"
        self.disk.mkdir()
        self._library = tmp_path / "power.so"
        source = ROOT / "tests" / "crash" / "power.c"
        command = [compiler, "-shared", "-fPIC", "-o", str(self._library), str(source), "-ldl"]
        subprocess.run(command, check=True)

    def env(self, *, cut_at: int | None = None, broken_at: int | None = None) -> dict[str, str]:
        """For processes on this machine.

        Args:
            cut_at: The sync before which the process dies.
            broken_at: The sync that fails.
        """
        env = {
            "LD_PRELOAD": str(self._library),
            "POWER_STORE": str(self.folder),
            "POWER_DISK": str(self.disk),
        }
        if cut_at is not None:
            env["POWER_CUT"] = str(cut_at)
        if broken_at is not None:
            env["POWER_EIO"] = str(broken_at)
        return env

    def cut(self, chance: random.Random, *, spared: float = 0.0) -> None:
        """Leaves what is durable. The rest is lost, but for a share of its sectors and names.

        Args:
            chance: Which.
            spared: The probability for each sector that was written, and each name that was made
                or taken away, to have reached the disk without a sync.
        """
        found = {path.name: path.read_bytes() for path in self.folder.iterdir()}
        durable = {path.name: path.read_bytes() for path in self.disk.iterdir()}
        names = set(durable.pop("names", b"").decode().split()) - {".", ".."}
        for name in names ^ found.keys():
            if chance.random() < spared:
                names ^= {name}
        self._wipe(self.folder)
        self._wipe(self.disk)
        for name in names:
            if name.endswith("-shm"):  # memory that happens to have a name
                continue
            before = durable.get(name, b"")
            content = torn(before, found.get(name, before), chance, spared)
            # From now on this is what is there, and what is durable.
            (self.folder / name).write_bytes(content)
            (self.disk / name).write_bytes(content)
        (self.disk / "names").write_text("\n".join(sorted(names)))

    @staticmethod
    def _wipe(folder: Path) -> None:
        for path in folder.iterdir():
            path.unlink()


def torn(durable: bytes, written: bytes, chance: random.Random, spared: float) -> bytes:
    """A file of which some sectors are as they were last written, the rest as last synced."""
    content = bytearray(durable)
    length = len(written) if chance.random() < spared else len(durable)
    content = content[:length].ljust(length, b"\0")
    for at in range(0, min(length, len(written)), SECTOR_BYTES):
        if chance.random() < spared:
            sector = written[at : min(at + SECTOR_BYTES, length)]
            content[at : at + len(sector)] = sector
    return bytes(content)
