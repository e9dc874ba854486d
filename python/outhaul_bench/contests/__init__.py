"""What is compared: a module for each part of outhaul, in the order of the README's table."""

from __future__ import annotations

from outhaul_bench.contest import Contest
from outhaul_bench.contests import (
    batches,
    growth,
    links,
    memory,
    payload,
    progress,
    queue,
    service,
    startup,
    uploads,
)

_MODULES = (uploads, batches, links, progress, payload, queue, service, memory, startup, growth)


def contests(*, tiny: bool = False) -> list[Contest]:
    """All of them; tiny ones finish in seconds, with worthless figures."""
    return [contest for module in _MODULES for contest in module.contests(tiny=tiny)]
