"""Every contest once, tiny: so that none rots. The figures are worthless and go nowhere."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from outhaul_bench.contest import Contest, Workshop
from outhaul_bench.contests import contests

pytest.importorskip("aiohttp")


@pytest.mark.timeout(60)
@pytest.mark.parametrize("contest", contests(tiny=True), ids=lambda contest: contest.name)
def test_everybody_finishes(benchmark: Any, contest: Contest, tmp_path: Path) -> None:
    def run() -> None:
        results = contest.hold(Workshop(tmp_path), rounds=1, say=lambda _: None)
        failed = {name: why for name, why in results.absent.items() if why.startswith("failed")}
        assert not failed
        skipped = [why for why in results.absent.values() if why.startswith("skipped")]
        if skipped:
            pytest.skip(skipped[0])
        assert results[contest.contenders[0].name]
        for goal in contest.goals:
            goal.judge(results)

    benchmark.pedantic(run, rounds=1)
