"""The files to upload, on disk and in the page cache, and a sink to send them to."""

from __future__ import annotations

import contextlib
import os
import random
from collections.abc import Iterator, Sequence
from pathlib import Path

from outhaul_bench import sink
from outhaul_bench.contest import Arguments, Workshop
from outhaul_bench.measure import MIB


@contextlib.contextmanager
def served(
    workshop: Workshop,
    size: int,
    *,
    count: int = 1,
    tls: bool = False,
    within: tuple[str, ...] = (),
) -> Iterator[Arguments]:
    """Files of one size."""
    name = f"files-{count}-{size}"
    with served_files(workshop, name, [size] * count, tls=tls, within=within) as arguments:
        yield arguments


@contextlib.contextmanager
def served_files(
    workshop: Workshop,
    name: str,
    sizes: Sequence[int],
    *,
    tls: bool = False,
    sparse: bool = False,
    within: tuple[str, ...] = (),
) -> Iterator[Arguments]:
    """Files of those sizes, and the sink, run by the command `within`.

    Sparse files are holes, which read as zeros. The name is that of the set.
    """
    files = _files(workshop.folder / name, sizes, sparse=sparse)
    certificate, key, ca_file = _certificate(workshop.folder) if tls else ("", "", "")
    with sink.running(certificate, key, within) as url:
        yield {"url": url, "files": str(files), "ca_file": ca_file}


def mixed_sizes(count: int, largest: int) -> list[int]:
    """From 1 byte on, each power of two as likely as another; always the same ones."""
    chance = random.Random(7)
    return [round(2 ** chance.uniform(0, largest.bit_length() - 1)) for _ in range(count)]


def _files(folder: Path, sizes: Sequence[int], *, sparse: bool) -> Path:
    if not folder.exists():
        folder.mkdir()
        block = os.urandom(MIB)
        for number, size in enumerate(sizes):
            with (folder / f"{number:05}.bin").open("wb") as file:
                for at in range(0, 0 if sparse else size, MIB):
                    file.write(block[: size - at])
                file.truncate(size)
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
