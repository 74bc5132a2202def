"""``summary.json`` and ``metrics.jsonl`` of ``colasearch iterate``, computed from the stages' folders alone.

::

    {"schema": 1, "task" (or "environment"), "searcher", "sims", "seed",
     "kept", "model",                                                # whose model is RUN/model: iteration, folder
     "iterations": [{"iteration", "n", "greedy": proportion,
                     "search": {"selected": proportion, "oracle": proportion, "sims"},
                     "generated_tokens",                             # of the search, in all
                     "searched": {...}, "value": {...}, "rl": {...}, "training": {...}}],     # not in iteration 0
     "times": {"stages": [{"name", "seconds", "resumed"}], "total_seconds"}}

A proportion is ``{"correct", "n", "accuracy", "ci95"}`` with Wilson's interval. ``searched`` is what the search solved
of its training problems. ``value`` compares, over the open nodes of these searches, what the value head (or rollout)
said when a node was made with the mean true reward of the finished texts below it. What depends on the clock stands
under ``times``.

Of an environment problems are episodes, and right is solved. ``greedy``, ``selected`` and ``searched`` also have
``score``: ``{"mean", "ci95"}``, with a bootstrap interval. There is no ``value``: heads learn there from rollouts.

``metrics.jsonl`` has the same numbers flat: a line an iteration and phase, ``{"iteration", "phase", MEASURE: number}``.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from colasearch.disk import raise_disk
from colasearch.errors import CorruptFileError
from colasearch.experiments.recipes.iterating import Common
from colasearch.experiments.running.stages import records_by_name
from colasearch.problem import LabelledProblem
from colasearch.storage.files import read_json
from colasearch.storage.traces import Trace

SCHEMA = 1
BINS = 10
ROUNDS = ("step", "reward", "format", "length", "kl", "entropy", "actions_used")
EPISODE_ROUNDS = ("success", "turns", "invalid", "cut")
"""What RL logs of rounds, and what of environments alone."""


def summarise(
    how: Common,
    about: Mapping[str, Any],
    folders: Mapping[str, Path],
    records: Sequence[Mapping[str, Any]],
    train: Sequence[LabelledProblem] | None = None,
) -> dict[str, Any]:
    """The summary of a run whose stages are all done.

    Args:
        how: What was run.
        about: ``{"task": ...}``, or ``{"environment": ...}``.
        folders: Each stage's folder, by name.
        records: Of ``stages.jsonl``.
        train: The training problems, with their answers; None of an environment.

    Raises:
        CorruptFileError: A stage's files are damaged or gone.
    """
    by_name = records_by_name(records)
    found: list[dict[str, Any]] = []
    for number in range(how.iterations + 1):
        check = read_json(folders[f"check-{number}"] / "summary.json")
        searched = check["arms"][how.searcher]
        row: dict[str, Any] = {
            "iteration": number,
            "n": check["n"],
            "greedy": _proportion(check["arms"]["greedy"]),
            "search": {
                "selected": _proportion(searched),
                "oracle": _proportion(searched, "oracle"),
                "sims": how.eval_sims,
            },
            "generated_tokens": searched["generated_tokens"],
        }
        if number:
            folder = folders[f"search-{number}"]
            row["searched"] = _proportion(read_json(folder / "summary.json")["arms"][how.searcher])
            if train is not None:
                row["value"] = calibration(_traces(folder), train)
            row["rl"] = _rounds(folders[f"rl-{number}"]) if how.rl_rounds else None
            stages = (f"{kind}-{number}" for kind in ("policy", "value", "rl"))
            row["training"] = {name: by_name[name]["result"]["heldout"] for name in stages if name in by_name}
        found.append(row)
    return {
        "schema": SCHEMA,
        **about,
        "searcher": how.searcher,
        "sims": how.sims,
        "seed": how.seed,
        "iterations": found,
        "times": {
            "stages": [{key: record[key] for key in ("name", "seconds", "resumed")} for record in records],
            "total_seconds": round(sum(record["seconds"] for record in records), 1),
        },
    }


def _proportion(arm: Mapping[str, Any], which: str = "selected") -> dict[str, Any]:
    """How many problems a bench's arm solves, of how many; with the mean score of its episodes, where it has one."""
    scored = {"score": arm["score"]} if which == "selected" and "score" in arm else {}
    return {"correct": arm[which]["correct"], "n": arm["n"], **arm[which], **scored}


def metrics(summary: Mapping[str, Any]) -> list[dict[str, Any]]:
    """The lines of ``metrics.jsonl``; of RL the means over its rounds, and what it ended with."""
    lines: list[dict[str, Any]] = []
    for row in summary["iterations"]:

        def add(phase: str, measures: Mapping[str, Any], number: int = row["iteration"]) -> None:
            lines.append({"iteration": number, "phase": phase, **measures})

        if row["iteration"]:
            searched = row["searched"]
            add("search", {key: searched[key] for key in ("correct", "n", "accuracy")} | _score("score", searched))
            if "value" in row:
                add("calibration", {key: row["value"][key] for key in ("nodes", "brier", "constant_brier")})
            for name, measures in row["training"].items():
                add(name.rpartition("-")[0], {**measures, **_means(row["rl"] if name.startswith("rl-") else None)})
        proportions = {"greedy": row["greedy"], **{key: row["search"][key] for key in ("selected", "oracle")}}
        flat = {f"{name}_{key}": found[key] for name, found in proportions.items() for key in ("correct", "accuracy")}
        for name, found in proportions.items():
            flat |= _score(f"{name}_score", found)
        add("check", {"n": row["n"], **flat, "generated_tokens": row["generated_tokens"]})
    return lines


def _score(name: str, proportion: Mapping[str, Any]) -> dict[str, Any]:
    return {name: proportion["score"]["mean"]} if "score" in proportion else {}


def _means(rounds: Mapping[str, Sequence[Any]] | None) -> dict[str, float]:
    found: dict[str, float] = {}
    for key, values in (rounds or {}).items():
        known = [value for value in values if value is not None]
        if key != "step" and known:
            found |= {f"mean_{key}": round(sum(known) / len(known), 6), f"last_{key}": known[-1]}
    return found


def best_iteration(summary: Mapping[str, Any]) -> int:
    """The iteration of greatest greedy accuracy on held-out problems, then of greatest score; of equals the first."""

    def worth(row: Mapping[str, Any]) -> tuple[float, float, int]:
        score = row["greedy"].get("score", {}).get("mean")
        return row["greedy"]["accuracy"], score or 0.0, -row["iteration"]

    rows = [row for row in summary["iterations"] if row["iteration"]]
    return int(max(rows, key=worth)["iteration"])


def _traces(folder: Path) -> Iterable[Trace]:
    return (Trace.read(path) for path in sorted((folder / "traces").rglob("*.json.gz")))


def _rounds(folder: Path) -> dict[str, list[Any]]:
    """RL's rounds as columns."""
    path = folder / "metrics.jsonl"
    try:
        rows = [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]
    except (OSError, ValueError) as error:
        raise_disk(error, path)
        raise CorruptFileError(f"{path} cannot be read ({error}); run in a new folder") from None
    rounds = [row for row in rows if "reward" in row]
    columns = (*ROUNDS, *(key for key in EPISODE_ROUNDS if any(key in row for row in rounds)))
    return {key: [row.get(key) for row in rounds] for key in columns}


def calibration(traces: Iterable[Trace], problems: Sequence[LabelledProblem]) -> dict[str, Any]:
    """Values said against what came of it.

    Args:
        traces: Searches; of those whose problem is not among ``problems`` nothing is known.
        problems: With their answers.

    Returns:
        ``{"bins": [{"low", "nodes", "said", "true"}], "nodes", "brier", "constant_brier"}``: bins of the value said,
        with the means of both; the mean squared difference over nodes; and that of always saying the mean. None of
        these where there is no node.
    """
    from colasearch.training.data.problems import Reward
    from colasearch.training.from_search.targets import outcomes_of

    labelled = {one.problem.text: one for one in problems}
    rewards: dict[str, Reward] = {}

    def judge(trace: Trace, answer: str) -> float:
        reward = rewards.setdefault(trace.task, Reward(trace.task))
        return reward.of_answer(labelled[trace.text], answer)

    pairs: list[tuple[float, float]] = []
    for trace in traces:
        if trace.text in labelled:
            outcomes = outcomes_of(trace, judge)
            known = zip(trace.nodes, outcomes, strict=True)
            pairs += [(node.raw_value, mean) for node, (mean, count) in known if not node.end and count]
    bins = []
    for number in range(BINS):
        inside = [(a, b) for a, b in pairs if min(BINS - 1, int(a * BINS)) == number]
        if inside:
            said, true = (round(sum(values) / len(inside), 6) for values in zip(*inside, strict=True))
            bins.append({"low": number / BINS, "nodes": len(inside), "said": said, "true": true})
    if not pairs:
        return {"bins": [], "nodes": 0, "brier": None, "constant_brier": None}
    mean = sum(true for _, true in pairs) / len(pairs)
    return {
        "bins": bins,
        "nodes": len(pairs),
        "brier": round(sum((said - true) ** 2 for said, true in pairs) / len(pairs), 6),
        "constant_brier": round(sum((mean - true) ** 2 for _, true in pairs) / len(pairs), 6),
    }
