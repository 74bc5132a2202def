"""``summary.json`` of the Countdown experiment, computed from the stages' folders alone.

::

    {"schema": 1, "experiment": "countdown", "size", "recipe": {...},
     "aims": [{"key", "aim", "measured", "value", "target", "met", "detail"}],     # see countdown_aims
     "greedy": [{"key", "model", "n", "correct", "accuracy", "ci95"}],             # one text a problem, no search
     "rl": {"codes" | "tokens": {"trained_parameters", "before", "after",          # held-out greedy reward
                                 "rounds": {"step": [...], "reward": [...], "format", "length", "ended", ...},
                                 "heldout": {"step": [...], "greedy_reward": [...], ...}},
            "paired": {"n", "difference", "ci95", "separate", "only_first", "only_second", "ratio", "ratio_ci95"}},
     "iterations": [{"iteration", "n", "greedy": proportion, "search": proportion}],         # 0: before the first
     "search": {"rl" | "final" | "harder": {"benchmark", "searcher", "n",
                "points": [{"sims", "arms": {ARM: {"n", "errors", "tokens", "selected", "oracle"}}, "comparisons"}]}},
     "training": {STAGE: {MEASURE: number}},
     "times": {"stages": [{"name", "seconds", "resumed"}], "total_seconds",        # in which any stage ran
               "rl": {"codes" | "tokens": {"rounds", "rollout_seconds", "update_seconds",      # means a round
                                         "update_ms_a_token"}},                         # texts differ in length
               "update_ratio", "equal_time": {...} or null}}

A proportion is ``{"correct", "accuracy", "ci95"}`` with Wilson's interval. What depends on the clock stands under
``times``, and in the aim ``update-time``; all else is the same when a run is killed and resumed.
"""

from __future__ import annotations

import itertools
import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

from colasearch.benchmarks.harness.comparison import Run
from colasearch.benchmarks.harness.intervals import paired_ratio
from colasearch.benchmarks.harness.summary import compare_arms, is_right, proportion
from colasearch.disk import raise_disk
from colasearch.errors import CorruptFileError
from colasearch.experiments.recipes.countdown import FINAL_BENCH, HARDER_BENCH
from colasearch.experiments.recipes.countdown_recipe import Recipe
from colasearch.experiments.running.stages import busy_seconds, records_by_name
from colasearch.storage.files import read_json

SCHEMA = 1
LEVELS = {"codes": "rl-codes", "tokens": "rl-tokens"}
GREEDY = {
    "bench-base": "base, on tokens",
    "bench-policy": "stage 2, on codes",
    "bench-guide": "after guided fine-tuning, on codes",
    "bench-rl-tokens": "after RL on tokens",
    "bench-rl-codes": "after RL on codes",
    FINAL_BENCH: "after search and RL in turn",
}
SEARCHES = {"rl": "bench-search", "final": FINAL_BENCH, "harder": HARDER_BENCH}
Record = Mapping[str, Any]


def summarise(recipe: Recipe, size: str, folders: Mapping[str, Path], records: Sequence[Record]) -> dict[str, Any]:
    """The summary of a run whose stages are all done.

    Args:
        recipe: What was run.
        size: Its name.
        folders: Each stage's folder, by name.
        records: Of ``stages.jsonl``.

    Raises:
        CorruptFileError: A stage's files are damaged or gone.
    """
    from colasearch.experiments.reports.countdown_aims import aims

    by_name = records_by_name(records)
    rl = {level: _rl(folders[stage], by_name[stage]) for level, stage in LEVELS.items()}
    summary = {
        "schema": SCHEMA,
        "experiment": "countdown",
        "size": size,
        "recipe": json.loads(json.dumps(asdict(recipe))),
        "greedy": [{"key": name, "model": words, **_greedy(folders[name])} for name, words in GREEDY.items()],
        "rl": {**rl, "paired": _paired(folders["bench-rl-codes"], folders["bench-rl-tokens"], recipe.seed)},
        "iterations": iterations(folders, recipe),
        "search": {key: _search(folders[name]) for key, name in SEARCHES.items()},
        "search_against_greedy": _against_greedy(folders, recipe),
        "training": {
            name: record["result"]["heldout"]
            for name, record in by_name.items()
            if isinstance(record["result"], dict) and "heldout" in record["result"]
        },
        "times": _times(records, rl, recipe.rl_batch * recipe.rl_group),
    }
    return {**summary, "aims": aims(summary)}


def _metrics(folder: Path) -> list[dict[str, Any]]:
    path = folder / "metrics.jsonl"
    try:
        return [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]
    except (OSError, ValueError) as error:
        raise_disk(error, path)
        raise CorruptFileError(f"{path} cannot be read ({error}); run the experiment in a new folder") from None


def _rl(folder: Path, record: Record) -> dict[str, Any]:
    """Curves of one RL run; rounds and held-out measures as columns."""
    rows = _metrics(folder)
    rounds = [row for row in rows if "reward" in row]
    heldout = [row for row in rows if "heldout/greedy_reward" in row]
    columns = ("step", "reward", "format", "length", "ended", "kl", "entropy", "rollout_seconds", "update_seconds")
    measures = ("reward", "ended", "greedy_reward", "greedy_ended")
    result = record["result"]
    return {
        "trained_parameters": result["trained_parameters"],
        "before": result["heldout"]["before_greedy_reward"],
        "after": result["heldout"]["greedy_reward"],
        "heldout_problems": int(result["heldout"]["problems"]),
        "rounds": {key: [row.get(key) for row in rounds] for key in columns if any(key in row for row in rounds)},
        "heldout": {
            "step": [row["step"] for row in heldout],
            **{key: [row[f"heldout/{key}"] for row in heldout] for key in measures},
        },
    }


def _greedy(folder: Path) -> dict[str, Any]:
    arm = read_json(folder / "summary.json")["arms"]["greedy"]
    return {"n": arm["n"], "errors": arm["errors"], **arm["selected"]}


def _paired(first: Path, second: Path, seed: int) -> dict[str, Any]:
    """Greedy decoding after RL on codes against that after RL on tokens, problem by problem."""
    return _compare(Run.read(first).arm("greedy", None), Run.read(second).arm("greedy", None), seed)


def _compare(first: Sequence[Record], second: Sequence[Record], seed: int) -> dict[str, Any]:
    other = {r["problem_id"]: r for r in second if r["status"] == "ok"}
    pairs = [(r, other[r["problem_id"]]) for r in first if r["status"] == "ok" and r["problem_id"] in other]
    ratio = paired_ratio([is_right(a) for a, _ in pairs], [is_right(b) for _, b in pairs], seed)
    return {
        **compare_arms(first, second, seed),
        "first": proportion(sum(is_right(a) for a, _ in pairs), len(pairs)),
        "second": proportion(sum(is_right(b) for _, b in pairs), len(pairs)),
        "ratio": None if ratio is None else round(ratio[0], 4),
        "ratio_ci95": None if ratio is None else [_finite(bound) for bound in ratio[1:]],
    }


def _finite(value: float) -> float | None:
    """``value``, rounded; None for infinity, which JSON does not have."""
    return None if value == float("inf") else round(value, 4)


def _against_greedy(folders: Mapping[str, Path], recipe: Recipe) -> dict[str, Any]:
    """Search against greedy decoding of the same model: the RL policy, and the final model."""
    found = {}
    for key in ("rl", "final"):
        run = Run.read(folders[SEARCHES[key]])
        searched = run.arm(run.settings["searcher"], recipe.aim_sims)
        found[key] = _compare(searched, run.arm("greedy", None), recipe.seed)
    return found


def _search(folder: Path) -> dict[str, Any]:
    """What a bench says, without its clock."""
    summary = read_json(folder / "summary.json")
    points = []
    for point in summary["curve"]:
        arms = {}
        for name, arm in point["arms"].items():
            fine = arm["n"] - arm["errors"]
            arms[name] = {
                "n": arm["n"],
                "errors": arm["errors"],
                "tokens": round(arm["generated_tokens"] / fine, 2) if fine else 0.0,
                "selected": arm["selected"],
                "oracle": arm["oracle"],
            }
        points.append({"sims": point["sims"], "arms": arms, "comparisons": point["comparisons"]})
    keys = ("benchmark", "searcher", "n", "verdict")
    return {**{key: summary[key] for key in keys}, "points": points}


def _times(records: Sequence[Record], rl: Mapping[str, Any], rollouts: int) -> dict[str, Any]:
    means = {level: _round_times(rl[level]["rounds"], rollouts) for level in LEVELS}
    codes, tokens = (means[level]["update_seconds"] for level in LEVELS)
    return {
        "stages": [{key: record[key] for key in ("name", "seconds", "resumed", "status")} for record in records],
        "total_seconds": round(busy_seconds(records), 1),
        "rl": means,
        "update_ratio": round(codes / tokens, 4) if codes is not None and tokens else None,
        "equal_time": _equal_time(rl),
    }


def _round_times(rounds: Mapping[str, Sequence[Any]], rollouts: int) -> dict[str, Any]:
    """Means a round; None where a round's time was not logged."""
    found: dict[str, Any] = {"rounds": len(rounds["step"])}
    for key in ("rollout_seconds", "update_seconds"):
        values = [value for value in rounds.get(key, []) if value is not None]
        found[key] = round(sum(values) / len(values), 4) if values else None
    tokens = rollouts * sum(rounds["length"]) / max(1, len(rounds["length"]))
    seconds = found["update_seconds"]
    found["update_ms_a_token"] = round(1000 * seconds / tokens, 4) if seconds is not None and tokens else None
    return found


def _equal_time(rl: Mapping[str, Any]) -> dict[str, Any] | None:
    """Held-out greedy reward of both at the time when the faster one was through.

    Time is that of rollouts and updates, not of measurements. Between two measurements the reward is interpolated.
    """
    clocks = {level: clock(rl[level]["rounds"]) for level in LEVELS}
    if not all(clocks.values()):
        return None
    seconds = min(ends[-1] for ends in clocks.values())
    found: dict[str, Any] = {"seconds": round(seconds, 1)}
    for level, ends in clocks.items():
        one = rl[level]
        at = [0.0, *(ends[step - 1] for step in one["heldout"]["step"] if step <= len(ends))]
        rewards = [one["before"], *one["heldout"]["greedy_reward"]][: len(at)]
        found[level] = {
            "all_seconds": round(ends[-1], 1),
            "rounds": sum(time <= seconds for time in ends),
            "greedy_reward": round(_interpolate(seconds, at, rewards), 6),
        }
    return found


def clock(rounds: Mapping[str, Sequence[float | None]]) -> list[float]:
    """Seconds from the start to the end of each round; empty where they were not logged."""
    parts = (rounds.get("rollout_seconds", []), rounds.get("update_seconds", []))
    if not all(parts) or any(value is None for part in parts for value in part):
        return []
    return list(itertools.accumulate((a or 0.0) + (b or 0.0) for a, b in zip(*parts, strict=True)))


def _interpolate(x: float, xs: Sequence[float], ys: Sequence[float]) -> float:
    """Straight lines through the points; level outside of them."""
    for (x0, y0), (x1, y1) in itertools.pairwise(zip(xs, ys, strict=True)):
        if x0 <= x <= x1:
            return y0 if x1 == x0 else y0 + (y1 - y0) * (x - x0) / (x1 - x0)
    return ys[-1]


def iterations(folders: Mapping[str, Path], recipe: Recipe) -> list[dict[str, Any]]:
    """Greedy and searched accuracy on held-out problems, before the first and after each iteration."""
    found = []
    for number in range(recipe.iterations + 1):
        summary = read_json(folders[f"check-{number}"] / "summary.json")
        arms = summary["arms"]
        searched = arms[summary["searcher"]]["selected"]
        found.append({"iteration": number, "n": summary["n"], "greedy": arms["greedy"]["selected"], "search": searched})
    return found
