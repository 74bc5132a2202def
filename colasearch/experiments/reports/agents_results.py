"""Numbers of the agents experiment, from its stages' records alone.

``summary.json``::

    {"schema": 1, "experiment": "agents", "size", "environment", "episodes", "parameters": {"base", "codes", "tokens"},
     "before": {LEVEL: PLAYED},                                     # before RL: codes of stage 2, the base's own tokens
     "runs": [{"on", "seed", "trained_parameters", "rollouts", **PLAYED, "text", "curve": {"step", "reward", ...}}],
     "arms": [{"on", "seeds", "greedy": {"success", "ci95", "score", "score_ci95"}, "sampled": {...},
               "gain": {"success", "ci95"},                         # less that before RL, the same episodes
               "text": {"difference", "lowest", "highest"}}],       # nats a token of held-out observations
     "contrast": {"success", "ci95", "seeds_ci95", "shown"},        # greedy, codes less tokens
     "search": [{"sims", "equal", "arms": {ARM: {...}}, "less_best_of_n": {"success", "ci95", "shown"}}]}

PLAYED is ``{"greedy": {"success", "ci95", "score", "score_ci95", "tasks": {TASK: success}}, "sampled": {...}}``.
Intervals of one run's success are Wilson's. Those of several runs, and of differences, are percentiles of a bootstrap
over episodes, whose runs are drawn together; ``seeds_ci95`` is Student's, over seeds.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from colasearch.benchmarks.episodes.arms import BEST_OF_N, GREEDY, SAMPLED
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

ARMS = (GREEDY, SAMPLED)
CURVE = {"reward": "reward", "success": "success", "turns": "turns", "kl": "kl"}
Successes = dict[str, float]
"""Success, 0 or 1, of each episode, by its id."""


def summarise(
    how: Agents, size: str, folders: Mapping[str, Path], records: Mapping[str, Mapping[str, Any]]
) -> dict[str, Any]:
    """The summary of a finished experiment."""
    results = {name: record.get("result") or {} for name, record in records.items()}
    runs, arms, found = [], [], {}
    trained: dict[str, int] = {}
    for level in LEVELS:
        start = {arm: _successes(folders[START_BENCHES[level]], arm) for arm in ARMS}
        after: dict[str, list[Successes]] = {arm: [] for arm in ARMS}
        texts, scores = [], []
        for number in range(how.seeds):
            seed = how.seed + number
            name, bench = rl_name(level, seed), bench_name(level, seed)
            text = _text(results[text_name(level, seed)])
            trained[level] = int(results[name]["trained_parameters"])
            for arm in ARMS:
                after[arm].append(_successes(folders[bench], arm))
            texts.append(text)
            scores.append(results[bench]["arms"])
            runs.append(
                {
                    "on": level,
                    "seed": seed,
                    "trained_parameters": trained[level],
                    "rollouts": how.rounds * how.batch * how.group,
                    **played(results[bench]),
                    "text": text,
                    "curve": read_run(folders[name], CURVE),
                }
            )
        found[level] = after[GREEDY]
        arms.append(_arm(level, start, after, texts, scores, how.seed))
    return {
        "schema": 1,
        "experiment": "agents",
        "size": size,
        "environment": how.environment,
        "episodes": how.test,
        "parameters": {"base": results["base"].get("parameters"), **trained},
        "before": {level: played(results[START_BENCHES[level]]) for level in LEVELS},
        "runs": runs,
        "arms": arms,
        "contrast": contrast(found["codes"], found["tokens"], how.seed),
        "search": [*_search(results[SEARCH], "steps"), *_search(results[SEARCH_TOKENS], "tokens")],
    }


def played(summary: Mapping[str, Any]) -> dict[str, Any]:
    """The arms of a bench on episodes, each as success and score."""
    return {arm: arm_numbers(summary["arms"][arm]) for arm in ARMS}


def arm_numbers(arm: Mapping[str, Any]) -> dict[str, Any]:
    """Success and score of one arm of a bench's summary, with what it cost."""
    tasks = {name: part["accuracy"] for name, part in arm["by"]["subject"].items()}
    return {
        "success": arm["success"]["accuracy"],
        "ci95": arm["success"]["ci95"],
        "score": arm["score"]["mean"],
        "score_ci95": arm["score"]["ci95"],
        "tasks": tasks,
        "environment_steps": arm["environment_steps"],
        "tokens": arm["generated_tokens"] / max(1, arm["n"]),
    }


def _successes(folder: Path, arm: str) -> Successes:
    rows = [row for row in read_records(folder, "problems.jsonl") if row["arm"] == arm]
    return {row["problem_id"]: float(row.get("correct", False)) for row in rows}


def _text(result: Mapping[str, Any]) -> dict[str, Any]:
    """What RL did to the base's text: the base's own tokens, and the mixture of codes where that was measured."""
    keys = ("before", "after", "difference", "ci95", "separate")
    return {row["on"]: {key: row[key] for key in keys} for row in result["rows"]}


def over_seeds(runs: Sequence[Successes]) -> Successes:
    """Of each episode the mean over runs."""
    return {key: sum(run[key] for run in runs) / len(runs) for key in runs[0]}


def _arm(
    level: str,
    start: Mapping[str, Successes],
    after: Mapping[str, Sequence[Successes]],
    texts: Sequence[Mapping[str, Any]],
    benches: Sequence[Mapping[str, Any]],
    seed: int,
) -> dict[str, Any]:
    found: dict[str, Any] = {"on": level, "seeds": len(texts)}
    for arm in ARMS:
        each = over_seeds(after[arm])
        success = mean_of(list(each.values()), seed)
        score = [bench[arm]["score"]["mean"] for bench in benches]
        found[arm] = {"success": success["mean"], "ci95": success["ci95"], "score": sum(score) / len(score)}
    each = over_seeds(after[GREEDY])
    gain = mean_of([each[key] - start[GREEDY][key] for key in each], seed)
    found["gain"] = {"success": gain["mean"], "ci95": gain["ci95"]}
    harm = [text["tokens"]["difference"] for text in texts]
    found["text"] = {"difference": sum(harm) / len(harm), "lowest": min(harm), "highest": max(harm)}
    return found


def contrast(codes: Sequence[Successes], tokens: Sequence[Successes], seed: int) -> dict[str, Any]:
    """Greedy success after RL on codes less that after RL on tokens: over episodes, and over seeds."""
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
        arms = {name: arm_numbers(arm) for name, arm in point["arms"].items()}
        rows.append({"sims": point["sims"], "equal": equal, "arms": arms, "less_best_of_n": less})
    return rows
