"""``summary.json`` of a benchmark on episodes, computed from its records alone.

As that of other benchmarks (``benchmarks/harness/summary.py``), where ``selected`` is the share of episodes solved, and
``oracle`` those of which any that was tried was solved. Each arm also has::

    "success": {"correct", "accuracy", "ci95"},          # the same as "selected", by its name
    "score": {"mean", "ci95"},                           # mean sum of rewards, and its bootstrap interval
    "steps", "environment_steps", "replayed_steps", "resets", "cut_actions"     # sums over episodes

and each comparison ``score_difference``, ``score_ci95`` (paired bootstrap) and ``step_ratio``: the second arm's new
actions in the environment over the first's. An episode that errored counts as not solved, and is in no score.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import numpy as np

from colasearch.benchmarks.episodes.arms import BEST_OF_N, GOLD, ONCE
from colasearch.benchmarks.harness.intervals import LEAST_DISCORDANT, RESAMPLES
from colasearch.benchmarks.harness.summary import SCHEMA, Record, arm_summary, by_sims, compare_arms

ONCE_SIMS = 0
"""``sims`` of the records of arms that no number of simulations changes."""
SUMS = ("steps", "environment_steps", "replayed_steps", "resets", "cut_actions")


def mean_of(values: Sequence[float], seed: int) -> dict[str, Any]:
    """Mean of scores and its 95% percentile interval by the bootstrap; None where there are none."""
    if not values:
        return {"mean": None, "ci95": None}
    array = np.asarray(values, np.float64)
    low, high = _interval(array, seed)
    return {"mean": round(float(array.mean()), 6), "ci95": [round(low, 6), round(high, 6)]}


def _interval(array: np.ndarray, seed: int) -> tuple[float, float]:
    rng = np.random.Generator(np.random.PCG64(np.random.SeedSequence([seed % 2**64, len(array)])))
    means = [array[rng.integers(0, len(array), len(array))].mean() for _ in range(RESAMPLES // 10)]
    low, high = np.quantile(means, [0.025, 0.975])
    return float(low), float(high)


def arm_of(records: Sequence[Record], arm: str, tasks: Sequence[str], seed: int) -> dict[str, Any]:
    """Summary of one arm's records."""
    found = arm_summary(records, arm, {"subject": tasks, "level": []})
    fine = [record for record in records if record["status"] == "ok"]
    found["success"] = found["selected"]
    found["score"] = mean_of([record["score"] for record in fine], seed)
    for name, part in found["by"]["subject"].items():
        part["score"] = mean_of([record["score"] for record in fine if record["subject"] == name], seed)
    return {**found, **{name: sum(record[name] for record in fine) for name in SUMS}}


def compare(first: Sequence[Record], second: Sequence[Record], seed: int) -> dict[str, Any]:
    """Paired comparison of two arms, over the episodes that neither broke."""
    found = compare_arms(first, second, seed)
    other = {record["problem_id"]: record for record in second if record["status"] == "ok"}
    pairs = [(r, other[r["problem_id"]]) for r in first if r["status"] == "ok" and r["problem_id"] in other]
    scores = mean_of([a["score"] - b["score"] for a, b in pairs], seed)
    mine, theirs = (sum(pair[side]["environment_steps"] for pair in pairs) for side in (0, 1))
    return {
        **found,
        "score_difference": scores["mean"],
        "score_ci95": scores["ci95"],
        "step_ratio": round(theirs / mine, 4) if mine else None,
    }


def build(
    records: Iterable[Record],
    *,
    benchmark: str,
    model: str,
    seed: int,
    searcher: str,
    arms: Sequence[str],
    sims: Sequence[int],
    ids: Sequence[str],
    tasks: Sequence[str],
    equal: str,
    data: Mapping[str, Any],
    max_tokens: int,
) -> dict[str, Any]:
    """The summary of a run.

    Args:
        records: All records.
        benchmark: Its name.
        model: Its name.
        seed: Run seed; also of the bootstrap.
        searcher: The arm that sets the budget of best-of-N.
        arms: In the order in which they are shown.
        sims: Numbers of simulations, ascending.
        ids: Episodes of the run, in order.
        tasks: Their tasks.
        equal: What best-of-N has as much of as the search: ``steps`` or ``tokens``.
        data: As ``EpisodeData.to_json`` gives it.
        max_tokens: Longest action.
    """
    parts = by_sims(
        records, ids, arms, sims, searcher,
        once=dict.fromkeys(ONCE, ONCE_SIMS),
        arm_of=lambda rows, arm: arm_of(rows, arm, tasks, seed),
        compare=lambda first, second: compare(first, second, seed),
        apart=(GOLD,),
    )  # fmt: skip
    return {
        **parts,
        "schema": SCHEMA,
        "kind": "episodes",
        "benchmark": benchmark,
        "n": len(ids),
        "model": model,
        "seed": seed,
        "searcher": searcher,
        "verdict": verdict(searcher, parts["arms"], parts["comparisons"], equal),
        "max_tokens": max_tokens,
        "data": dict(data),
    }


def verdict(searcher: str, arms: Mapping[str, Any], comparisons: Sequence[Mapping[str, Any]], equal: str) -> str:
    """In plain words: whether the search solved more than whole episodes, drawn with as many steps or tokens."""
    if searcher in ONCE:
        return f"The chosen arm {searcher} plays each episode once; no search was compared."
    control = next((c for c in comparisons if c["second"] == BEST_OF_N and c["n"]), None)
    start = f"{searcher} solves {100 * arms[searcher]['selected']['accuracy']:.1f}% of the episodes."
    if control is None:
        return f"{start} Best-of-N was not run, so whether the search is worth its steps is not known."
    alone = f"{searcher} alone solves {control['only_first']}, best-of-N alone {control['only_second']}"
    said = f"{start} At equal {equal}, of {control['n']} episodes {alone}"
    if control["only_first"] + control["only_second"] < LEAST_DISCORDANT:
        return f"{said}: too few to tell, it takes {LEAST_DISCORDANT}."
    if not control["separate"]:
        return f"{said} (exact p = {control['p_value']:.2g}): it is not shown that the search is worth running."
    worth = "worth" if control["difference"] > 0 else "not worth"
    return f"{said} (exact p = {control['p_value']:.2g}). So the search is {worth} running here."
