"""curl, the program. Its own clock times it, so that starting a process costs it nothing."""

from __future__ import annotations

import subprocess
from pathlib import Path

from outhaul_bench import sink
from outhaul_bench.measure import Usage, paths_in

CONCURRENCY = 32


def upload(url: str, files: str, ca_file: str, folder: str) -> dict[str, float]:  # noqa: ARG001 — it stores nothing
    path = paths_in(files)[0]
    command = ["curl", "--silent", "--show-error", "--fail", "--output", "/dev/null"]
    command += ["--write-out", "%{time_total}", "--form", f"file=@{path}", url]
    if ca_file:
        command += ["--cacert", ca_file]
    with sink.receiving([path], url, ca_file), Usage(children=True) as usage:
        done = subprocess.run(command, capture_output=True, text=True, check=True)
    usage.wall_s = float(done.stdout)
    return _figures(usage, [path])


def upload_many(url: str, files: str, ca_file: str, folder: str) -> dict[str, float]:
    paths = paths_in(files)
    entry = 'url = "{url}"\nform = "file=@{path}"\noutput = "/dev/null"\n'
    config = Path(folder, "curl.conf")
    config.write_text("next\n".join(entry.format(url=url, path=path) for path in paths))
    command = ["curl", "--silent", "--show-error", "--fail", "--parallel"]
    command += ["--parallel-max", str(CONCURRENCY), "--config", str(config)]
    with sink.receiving(paths, url, ca_file), Usage(children=True) as usage:
        subprocess.run(command, check=True)
    return _figures(usage, paths)


def _figures(usage: Usage, paths: list[Path]) -> dict[str, float]:
    """Without its memory, which is not this process's."""
    figures = usage.sent(paths)
    del figures["rss_growth_mib"]
    return figures
