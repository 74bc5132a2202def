"""Numbers of the agents experiment, from its stages' records alone.

``summary.json``::

    {"schema": 1, "experiment": "agents", "size", "environment", "episodes", "parameters": {"base", "codes", "tokens"},
     "before": {LEVEL: PLAYED},                                     # before RL: codes of stage 2, the base's own tokens
     "runs": [{"on", "seed", "trained_parameters", "rollouts", "greedy": PLAYED, "text",
               "curve": {"step", "reward", "success", "turns", "kl"}}],
     "arms": [{"on", "seeds", "success", "ci95", "score",           # greedy, means over seeds
               "gain": {"success", "ci95"},                         # less that before RL, the same episodes
               "text": {"difference", "lowest", "highest"}}],       # nats a token of held-out observations
     "contrast": {"success", "ci95", "seeds_ci95", "shown"},        # gain on codes less that on tokens
     "search": [{"sims", "equal", "arms": {ARM: PLAYED}, "less_best_of_n": {"success", "ci95", "shown"}}]}

PLAYED is ``{"success", "ci95", "score", "score_ci95", "tasks": {TASK: success}, "environment_steps", "tokens"}``.
Intervals of one run's success are Wilson's. Those of several runs, and of differences, are percentiles of a bootstrap
over episodes, whose runs are drawn together; ``seeds_ci95`` is Student's, over seeds.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from colasearch.agents.players import GREEDY
from colasearch.benchmarks.episodes.arms import BEST_OF_N
from colasearch.benchmarks.episodes.summary import mean_of
from colasearch.experiments.recipes.agents import (
    LEVELS,
    SEARCH,
    SEARCH_TOKENS,
    START_BENCHES,
    Agents,
    bench_name,
    rl_name,
    text_name,
)
from colasearch.experiments.reports.preference_results import read_run, student
from colasearch.storage.records import read_records

CURVE = {"reward": "reward", "success": "success", "turns": "turns", "kl": "kl"}
Successes = dict[str, float]
"""Success, 0 or 1, of each episode, by its id; or how it changed."""


def summarise(
    how: Agents, size: str, folders: Mapping[str, Path], records: Mapping[str, Mapping[str, Any]]
) -> dict[str, Any]:
    """The summary of a finished experiment."""
    results = {name: record.get("result") or {} for name, record in records.items()}
    runs: list[dict[str, Any]] = []
    arms: list[dict[str, Any]] = []
    gained: dict[str, list[Successes]] = {}
    trained: dict[str, int] = {}
    for level in LEVELS:
        found: list[Successes] = []
        first = len(runs)
        for seed in range(how.seed, how.seed + how.seeds):
            name, bench = rl_name(level, seed), bench_name(level, seed)
            trained[level] = int(results[name]["trained_parameters"])
            found.append(_successes(folders[bench]))
            runs.append(
                {
                    "on": level,
                    "seed": seed,
                    "trained_parameters": trained[level],
                    "rollouts": how.rounds * how.batch * how.group,
                    "greedy": played(results[bench]["arms"][GREEDY]),
                    "text": _text(results[text_name(level, seed)]),
                    "curve": read_run(folders[name], CURVE),
                }
            )
        start = _successes(folders[START_BENCHES[level]])
        arms.append({"on": level, **arm_of(start, found, runs[first:], how.seed)})
        gained[level] = [gain_of(one, start) for one in found]
    return {
        "schema": 1,
        "experiment": "agents",
        "size": size,
        "environment": how.environment,
        "episodes": how.test,
        "parameters": {"base": results["base"].get("parameters"), **trained},
        "before": {level: played(results[START_BENCHES[level]]["arms"][GREEDY]) for level in LEVELS},
        "runs": runs,
        "arms": arms,
        "contrast": contrast(gained["codes"], gained["tokens"], how.seed),
        "search": [*_search(results[SEARCH], "steps"), *_search(results[SEARCH_TOKENS], "tokens")],
    }


def played(arm: Mapping[str, Any]) -> dict[str, Any]:
    """Success and score of one arm of a bench's summary, with what it cost."""
    return {
        "success": arm["success"]["accuracy"],
        "ci95": arm["success"]["ci95"],
        "score": arm["score"]["mean"],
        "score_ci95": arm["score"]["ci95"],
        "tasks": {name: part["accuracy"] for name, part in arm["by"]["subject"].items()},
        "environment_steps": arm["environment_steps"],
        "tokens": arm["generated_tokens"] / max(1, arm["n"]),
    }


def _successes(folder: Path) -> Successes:
    """Of the greedy arm of a bench."""
    rows = [row for row in read_records(folder) if row["arm"] == GREEDY]
    return {row["problem_id"]: float(row.get("correct", False)) for row in rows}


def _text(result: Mapping[str, Any]) -> dict[str, Any]:
    """What RL did to the base's text: the base's own tokens, and the mixture of codes where that was measured."""
    keys = ("before", "after", "difference", "ci95", "separate")
    return {row["on"]: {key: row[key] for key in keys} for row in result["rows"]}


def over_seeds(runs: Sequence[Successes]) -> Successes:
    """Of each episode the mean over runs."""
    return {key: sum(run[key] for run in runs) / len(runs) for key in runs[0]}


def arm_of(
    start: Successes, after: Sequence[Successes], runs: Sequence[Mapping[str, Any]], seed: int
) -> dict[str, Any]:
    """RL of one kind over its seeds, and what it gained over ``start``."""
    each = over_seeds(after)
    success = mean_of(list(each.values()), seed)
    gain = mean_of([each[key] - start[key] for key in each], seed)
    harm = [run["text"]["tokens"]["difference"] for run in runs]
    return {
        "seeds": len(runs),
        "success": success["mean"],
        "ci95": success["ci95"],
        "score": sum(run["greedy"]["score"] for run in runs) / len(runs),
        "gain": {"success": gain["mean"], "ci95": gain["ci95"]},
        "text": {"difference": sum(harm) / len(harm), "lowest": min(harm), "highest": max(harm)},
    }


def gain_of(after: Successes, before: Successes) -> Successes:
    """Success after RL less that before it, episode by episode; codes and tokens begin from different success."""
    return {key: after[key] - before[key] for key in after}


def contrast(codes: Sequence[Successes], tokens: Sequence[Successes], seed: int) -> dict[str, Any]:
    """What RL on codes gained in greedy success less what RL on tokens gained: over episodes, and over seeds."""
    first, second = over_seeds(codes), over_seeds(tokens)
    pairs = mean_of([first[key] - second[key] for key in first], seed)
    means = [sum(a.values()) / len(a) - sum(b.values()) / len(b) for a, b in zip(codes, tokens, strict=True)]
    seeds_ci95 = student(means)[1]
    apart = [low > 0 or high < 0 for low, high in (pairs["ci95"], seeds_ci95 or (0.0, 0.0))]
    return {"success": pairs["mean"], "ci95": pairs["ci95"], "seeds_ci95": seeds_ci95, "shown": all(apart)}


def _search(summary: Mapping[str, Any], equal: str) -> list[dict[str, Any]]:
    rows = []
    for point in summary["curve"]:
        pair = next((c for c in point["comparisons"] if c["second"] == BEST_OF_N), None)
        less = None
        if pair is not None:
            less = {"success": pair["difference"], "ci95": pair["ci95"], "shown": pair["separate"]}
        arms = {name: played(arm) for name, arm in point["arms"].items()}
        rows.append({"sims": point["sims"], "equal": equal, "arms": arms, "less_best_of_n": less})
    return rows
