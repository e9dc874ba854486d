"""How goals are judged: a wrong ratio would make every other figure worthless."""

from __future__ import annotations

from outhaul_bench.contest import Goal, Results


def _results(**samples: list[float]) -> Results:
    results = Results()
    for name, values in samples.items():
        results[name] = [{"rate": value} for value in values]
    return results


def test_a_ratio_is_the_median_of_the_rounds_own_ratios() -> None:
    results = _results(outhaul=[10, 100, 30], peer=[5, 10, 10])
    verdict = Goal("rate", "rate", 3, peers=("peer",)).judge(results)
    assert (verdict.measured, verdict.is_met) == (3, True)


def test_the_hardest_peer_counts() -> None:
    results = _results(outhaul=[10], slow=[1], fast=[8])
    assert Goal("rate", "rate", 2, peers=("slow", "fast")).judge(results).against == "fast"
    lower = Goal("cpu", "rate", 2, at_least=False, peers=("slow", "fast"))
    assert lower.judge(results).against == "slow"


def test_a_difference_is_subtracted_round_by_round() -> None:
    results = _results(outhaul=[10, 20], bare=[4, 15])
    goal = Goal("adds", "rate", 6, at_least=False, peers=("bare",), is_difference=True)
    assert goal.judge(results).measured == 5.5


def test_nobody_to_compare_with_is_neither_met_nor_missed() -> None:
    assert Goal("rate", "rate", 3, peers=("peer",)).judge(_results(outhaul=[1])).is_met is None


def test_a_goal_is_not_met_by_the_absence_of_a_peer() -> None:
    results, peers = _results(outhaul=[10], slow=[1]), ("slow", "gone")
    verdict = Goal("rate", "rate", 2, peers=peers).judge(results)
    assert verdict == ("rate >= 2x", 10, None, "slow; without gone")
    assert Goal("rate", "rate", 20, peers=peers).judge(results).is_met is False


def test_rounds_are_compared_with_themselves_and_one_that_failed_is_a_miss() -> None:
    results = _results(outhaul=[10, 100], peer=[5, 50, 1])
    for at, sample in zip((0, 2), results["outhaul"], strict=True):
        sample["round"] = at
    for at, sample in enumerate(results["peer"]):
        sample["round"] = at
    goal = Goal("rate", "rate", 1, peers=("peer",))
    assert goal.judge(results).measured == (10 / 5 + 100 / 1) / 2
    assert goal.judge(results).is_met
    results.failed.add("outhaul")
    assert goal.judge(results).is_met is False


def test_the_worst_round_decides_where_the_goal_says_so() -> None:
    goal = Goal("lag", "rate", 20, at_least=False, statistic=max)
    assert not goal.judge(_results(outhaul=[1, 2, 21])).is_met


def test_a_peer_that_kept_its_loop_from_others_does_not_count_where_loops_have_to_stay_free() -> (
    None
):
    results = _results(outhaul=[10], free=[5], late=[8])
    results.late_ms = {"free": [1.0, 2.0], "late": [1.0, 90.0]}
    goal = Goal("rate", "rate", 2, peers=("free", "late"), peers_late_ms_max=20)
    assert goal.judge(results).against == "free; left out, its loop was late: late"
