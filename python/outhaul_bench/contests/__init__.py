"""What is compared: a module for each part of outhaul, in the order of the README's table."""

from __future__ import annotations

from outhaul_bench.contest import Contest, Scale
from outhaul_bench.contests import memory, payload, queue, service, startup, uploads

_MODULES = (uploads, payload, queue, service, memory, startup)


def contests(scale: Scale) -> list[Contest]:
    """All of that scale; the tiny ones finish in seconds, with worthless figures."""
    return [
        contest.at(scale)
        for module in _MODULES
        for contest in module.contests(tiny=scale is Scale.TINY)
        if contest.is_quick or scale is not Scale.QUICK
    ]
