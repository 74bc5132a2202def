"""What the experiment computes from its stages: ratios with intervals, rewards at equal time, whether aims are met."""

from __future__ import annotations

import copy
from dataclasses import replace

import pytest

from colasearch.benchmarks.harness.intervals import paired_ratio
from colasearch.benchmarks.harness.summary import proportion
from colasearch.experiments.recipes.countdown import stages
from colasearch.experiments.recipes.countdown_recipe import SIZES
from colasearch.experiments.reports.countdown_aims import aims
from colasearch.experiments.reports.countdown_results import _equal_time, clock

PAIR = {"first": proportion(60, 100), "second": proportion(50, 100), "n": 100, "ratio": 1.2, "ratio_ci95": [1.05, 1.4]}
SUMMARY = {
    "recipe": {"aim_sims": 64},
    "rl": {"paired": PAIR},
    "search_against_greedy": {"rl": {**PAIR, "ratio": 1.6}},
    "search": {
        "final": {
            "searcher": "gumbel",
            "points": [
                {
                    "sims": 64,
                    "arms": {
                        "gumbel": {"selected": proportion(400, 500)},
                        "majority": {"selected": proportion(300, 500)},
                        "best_of_n": {"selected": proportion(370, 500)},
                    },
                    "comparisons": [
                        {"second": "majority", "difference": 0.2, "ci95": [0.15, 0.25], "token_ratio": 1.01},
                        {"second": "best_of_n", "difference": 0.06, "ci95": [0.02, 0.1], "token_ratio": 1.01},
                    ],
                }
            ],
        }
    },
    "iterations": [{"iteration": i, "n": 10, "greedy": proportion(c, 10)} for i, c in enumerate((3, 4, 5))],
    "times": {
        "update_ratio": 0.5,
        "rl": {
            "codes": {"update_seconds": 1.0, "update_ms_a_token": 0.2},
            "tokens": {"update_seconds": 2.0, "update_ms_a_token": 0.6},
        },
    },
}


def met(summary: dict) -> dict[str, bool | None]:
    return {aim["key"]: aim["met"] for aim in aims(summary)}


def test_aims_are_met_by_the_numbers():
    assert met(SUMMARY) == {
        "rl": True,
        "search": False,  # 1.6 < 1.61
        "search-majority": True,
        "search-best-of-n": False,  # 6 points, but the Wilson intervals touch
        "iterations": True,
        "update-time": True,
    }


def test_what_was_not_measured_is_neither_met_nor_missed():
    summary = copy.deepcopy(SUMMARY)
    summary["rl"]["paired"].update(second=proportion(0, 100), ratio=None, ratio_ci95=None)
    summary["times"]["update_ratio"] = None
    summary["iterations"] = summary["iterations"][:1]
    found = met(summary)
    assert found["rl"] is found["update-time"] is found["iterations"] is None
    summary["iterations"] = [*SUMMARY["iterations"], {"iteration": 3, "n": 10, "greedy": proportion(5, 10)}]
    assert met(summary)["iterations"] is False  # as good as before is no rise


def test_paired_ratio():
    first, second = [True] * 60 + [False] * 40, [False] * 20 + [True] * 50 + [False] * 30
    ratio, low, high = paired_ratio(first, second, 0)
    assert ratio == pytest.approx(1.2)
    assert low < 1.2 < high < 2
    assert paired_ratio(first, second, 0) == (ratio, low, high)
    assert paired_ratio(first, first, 0) == (1.0, 1.0, 1.0)
    assert paired_ratio([True, False], [False, False], 0) is None
    # One problem that the second solves: resamples without it have no finite ratio.
    assert paired_ratio([True] * 9 + [False], [True] + [False] * 9, 0)[2] == float("inf")
    with pytest.raises(ValueError, match="cannot be paired"):
        paired_ratio([True], [], 0)


def test_rewards_at_equal_time():
    def run(update: float, rewards: list[float]) -> dict:
        rounds = {"step": [1, 2, 3, 4], "rollout_seconds": [1.0] * 4, "update_seconds": [update] * 4}
        return {"rounds": rounds, "before": 0.0, "heldout": {"step": [2, 4], "greedy_reward": rewards}}

    rl = {"codes": run(1.0, [0.4, 0.8]), "tokens": run(4.0, [0.5, 0.9])}
    assert clock(rl["tokens"]["rounds"]) == [5.0, 10.0, 15.0, 20.0]
    found = _equal_time(rl)
    assert found["seconds"] == 8.0
    assert found["codes"] == {"all_seconds": 8.0, "rounds": 4, "greedy_reward": 0.8}
    # Of the control's 10 seconds to its first measurement 8 have passed.
    assert found["tokens"] == {"all_seconds": 20.0, "rounds": 1, "greedy_reward": 0.4}
    del rl["codes"]["rounds"]["update_seconds"]
    assert _equal_time(rl) is None


def test_in_each_iteration_the_base_learns_what_the_search_found_before_policy_and_values_do():
    plan = {s.name: s for s in stages(SIZES["full"])}

    def given(name: str, option: str) -> str:
        return plan[name].args[plan[name].args.index(option) + 1]

    for number, before in ((1, "value"), (2, "rl-1"), (3, "rl-2")):
        assert given(f"search-{number}", "--model") == f"{plan[before].folder}/model"
        assert given(f"solutions-{number}", "--traces") == plan[f"search-{number}"].folder
        assert given(f"guide-{number}", "--data") == f"{plan[f'solutions-{number}'].folder}/solutions.jsonl"
        assert given(f"guide-{number}", "--model") == f"{plan[before].folder}/model"
        assert given(f"policy-{number}", "--model") == f"{plan[f'guide-{number}'].folder}/model"
    without = {s.name: s for s in stages(replace(SIZES["full"], iterate_guide_epochs=0))}
    assert not {"solutions-1", "guide-1"} & set(without)
    args = without["policy-1"].args
    assert args[args.index("--model") + 1] == f"{without['value'].folder}/model"


def test_rl_starts_from_stage_2_or_from_guided_fine_tuning():
    """Both on codes; where nothing starts from it, guided fine-tuning comes after the iterations, for a free core."""
    for start, merged in (("policy", 8), ("guide", 0)):
        found = stages(replace(SIZES["full"], rl_start=start, rl_merge_codes=merged))
        plan, names = {s.name: s for s in found}, [s.name for s in found]
        args = plan["rl-codes"].args
        assert args[args.index("--model") + 1] == f"{plan[start].folder}/model"
        assert all(("--merge-codes" in plan[name].args) == bool(merged) for name in ("rl-codes", "rl-1"))
        control = plan["rl-tokens"].args
        assert control[control.index("--model") + 1] == f"{plan['policy'].folder}/model"
        assert "--merge-codes" not in control
        assert (names.index("guide") < names.index("rl-codes")) == (start == "guide")
        guided = plan["bench-guide"].args
        assert guided[guided.index("--model") + 1] == f"{plan['guide'].folder}/model"
