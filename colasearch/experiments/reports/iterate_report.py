"""The report of ``colasearch iterate``: accuracy by iteration, RL's curves, and how far values can be trusted."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from colasearch.experiments.reports.countdown_aims import percent
from colasearch.experiments.reports.document import Document, Section, Table, begun, run_facts, write_document
from colasearch.experiments.running.stages import Stage
from colasearch.report.charts import GREY, PALETTE, Chart, Series

TITLE = "Search and RL in turn"
SERIES = (("greedy", GREY), ("search", 0), ("any {text} of the search", 1))
PROBLEMS = {"problems": "problems", "text": "text", "accuracy": "accuracy", "one": "a problem"}
EPISODES = {"problems": "episodes", "text": "episode", "accuracy": "success", "one": "an episode"}


def _words(summary: Mapping[str, Any]) -> Mapping[str, str]:
    """What a problem, its texts and their accuracy are called: of an environment they are episodes."""
    return EPISODES if "environment" in summary else PROBLEMS


def write_report(root: Path, summary: Mapping[str, Any], manifest: Mapping[str, Any], stages: Sequence[Stage]) -> None:
    """Write ``report.md``, ``plots/`` and ``report.html`` into run folder ``root``."""
    rows = summary["iterations"]
    parts = [_accuracy(summary), *rl_curves(rows), *_values(rows), *_training(rows), _times(summary["times"])]
    if "environment" in summary:
        parts.insert(1, _episodes(rows))
    document = Document(
        title=TITLE,
        lead=lead(summary),
        command="colasearch iterate",
        facts=(
            f"environment {summary['environment']}" if "environment" in summary else f"task {summary['task']}",
            f"{summary['searcher']}, {summary['sims']} simulations",
            f"seed {summary['seed']}",
            f"{summary['times']['total_seconds'] / 60:,.0f} minutes",
            begun(manifest),
        ),
        parts=tuple(parts),
        stages=stages,
        run=run_facts(manifest, manifest.get("settings", {})),
    )
    write_document(root, document)


def lead(summary: Mapping[str, Any]) -> str:
    """The first sentence."""
    first, last = summary["iterations"][0], summary["iterations"][-1]
    words = _words(summary)
    return (
        f"On {first['n']} held-out {words['problems']} greedy {words['accuracy']} went from "
        f"{percent(first['greedy']['accuracy'])} to {percent(last['greedy']['accuracy'])}, and that of the search from "
        f"{percent(first['search']['selected']['accuracy'])} to {percent(last['search']['selected']['accuracy'])}, in "
        f"{last['iteration']} iteration{'s' if last['iteration'] > 1 else ''}. The model that was kept is that of "
        f"iteration {summary['kept']}."
    )


def _proportions(row: Mapping[str, Any]) -> list[Mapping[str, Any]]:
    return [row["greedy"], row["search"]["selected"], row["search"]["oracle"]]


def _bounds(proportion: Mapping[str, Any]) -> str:
    return f"{100 * proportion['ci95'][0]:.1f} to {100 * proportion['ci95'][1]:.1f}"


def _accuracy(summary: Mapping[str, Any]) -> Section:
    rows, words = summary["iterations"], _words(summary)
    cells = tuple(
        (
            f"after iteration {row['iteration']}" if row["iteration"] else "before",
            *(text for one in _proportions(row) for text in (percent(one["accuracy"]), _bounds(one))),
            f"{row['generated_tokens'] / row['n']:,.0f}",
        )
        for row in rows
    )
    any_of, cost = f"any {words['text']}", f"tokens {words['one']}"
    head = ("", "greedy", "95% Wilson", "search", "95% Wilson", any_of, "95% Wilson", cost)
    series = tuple(
        Series(
            name.format(**words),
            [float(row["iteration"]) for row in rows],
            [_proportions(row)[place]["accuracy"] for row in rows],
            [_proportions(row)[place]["ci95"][0] for row in rows],
            [_proportions(row)[place]["ci95"][1] for row in rows],
            color,
        )
        for place, (name, color) in enumerate(SERIES)
    )
    chart = Chart(
        name="iterations",
        title=f"{words['accuracy'].capitalize()} by iteration",
        x_label="iterations",
        y_label=f"{words['problems']} solved",
        series=series,
        percent=True,
        note=f"{words['problems'].capitalize()} held out from all training. Bands are Wilson's 95% intervals.",
    )
    if "environment" in summary:
        text = (
            "Dev variations, each played once greedily, and once after a search that may begin it again. Beside what "
            "the search played in the end stands whether any episode that it tried was solved."
        )
        return Section("Held-out episodes", text, (Table(head, cells),), (chart,))
    text = (
        "One greedy text a problem, and one search. What the search selects without the gold answer is kept apart from "
        "whether any of its texts was right."
    )
    return Section("Held-out problems", text, (Table(head, cells),), (chart,))


def _episodes(rows: Sequence[Mapping[str, Any]]) -> Section:
    """Mean scores, and what searches solved of the train variations."""
    cells = []
    for row in rows:
        scores = [row["greedy"]["score"], row["search"]["selected"]["score"]]
        said = (_score(score) for score in scores)
        searched = row.get("searched")
        solved = ("", "") if searched is None else (f"{searched['n']:,}", f"{searched['correct']:,}")
        cells.append((f"iteration {row['iteration']}" if row["iteration"] else "before", *said, *solved))
    text = (
        "Mean scores of the same episodes, with 95% bootstrap intervals; and how many train variations each iteration "
        "searched and solved: the policy clones the solved ones. Where none was solved it stayed as it was."
    )
    head = ("", "greedy score", "search score", "searched to learn from", "solved")
    return Section("Scores, and episodes to learn from", text, (Table(head, tuple(cells)),))


def _score(score: Mapping[str, Any]) -> str:
    if score["mean"] is None:
        return "none"
    return f"{score['mean']:.3f} ({score['ci95'][0]:.3f} to {score['ci95'][1]:.3f})"


def rl_curves(rows: Sequence[Mapping[str, Any]]) -> list[Section]:
    """Curves over the rounds of all iterations, one after the other; a line each, since each starts anew."""
    columns: dict[str, list[Series]] = {}
    done = 0
    for row in rows:
        rounds = row.get("rl")
        if not rounds:
            continue
        for key, values in rounds.items():
            known = [(done + step, y) for step, y in zip(rounds["step"], values, strict=True) if y is not None]
            if known:
                name, color = f"iteration {row['iteration']}", (row["iteration"] - 1) % len(PALETTE)
                line = Series(name, [x for x, _ in known], [y for _, y in known], color=color)
                columns.setdefault(key, []).append(line)
        done += len(rounds["step"])
    kinds = (
        ("reward", "Reward in training", "mean reward of a round", False),
        ("success", "Episodes solved in training", "share of a round's episodes", True),
        ("format", "Well-formed texts", "share of a round's texts", True),
        ("length", "Length of texts", "tokens a text", False),
        ("turns", "Length of episodes", "actions an episode", False),
        ("actions_used", "Codes in use", "different codes of a round", False),
        ("kl", "Divergence from the policy before each iteration's RL", "nats a text", False),
    )
    charts = tuple(
        Chart(
            name=f"rl-{key}",
            title=title,
            x_label="rounds of RL, all iterations",
            y_label=label,
            series=tuple(columns[key]),
            percent=in_percent,
        )
        for key, title, label, in_percent in kinds
        if columns.get(key)
    )
    return [Section("RL", "One mark a round.", (), charts)] if charts else []


def _values(rows: Sequence[Mapping[str, Any]]) -> list[Section]:
    if not any("value" in row for row in rows):
        return []
    cells, lines = [], []
    for row in rows:
        value = row.get("value")
        if not value or not value["nodes"]:
            continue
        scores = (f"{value[key]:.4f}" for key in ("brier", "constant_brier"))
        cells.append((f"iteration {row['iteration']}", f"{value['nodes']:,}", *scores))
        bins = value["bins"]
        lines.append(
            Series(
                f"iteration {row['iteration']}",
                [one["said"] for one in bins],
                [one["true"] for one in bins],
                color=(row["iteration"] - 1) % len(PALETTE),
            )
        )
    text = (
        "What was said of an open node when it was made, against the mean true reward of the finished texts below it, "
        "over the searches of training problems that open each iteration. A search goes where it expects reward, so "
        "what came of nodes is better than what a policy without search would have made of them. The Brier score is "
        "the mean squared difference; beside it that of always saying the mean."
    )
    chart = Chart(
        name="calibration",
        title="Values said, and what came of it",
        x_label="value said (mean of a bin)",
        y_label="mean true reward",
        series=(*lines, Series("as said", [0.0, 1.0], [0.0, 1.0], color=GREY, dashed=True)),
    )
    head = ("", "nodes", "Brier score", "of the mean")
    return [Section("Calibration of values", text, (Table(head, tuple(cells)),), (chart,) if lines else ())]


def _training(rows: Sequence[Mapping[str, Any]]) -> list[Section]:
    cells = tuple(
        (name, measure, f"{value:.4f}")
        for row in rows
        for name, measures in row.get("training", {}).items()
        for measure, value in measures.items()
    )
    text = "What each training stage measured on problems that it held out (cross-entropies in nats)."
    return [Section("Training", text, (Table(("stage", "measure", "value"), cells, (1,)),))] if cells else []


def _times(times: Mapping[str, Any]) -> Section:
    cells = tuple(
        (one["name"], f"{one['seconds']:,.0f}", "resumed: the last part only" if one["resumed"] else "")
        for one in times["stages"]
    )
    return Section("Time", "Wall-clock seconds of each stage.", (Table(("stage", "seconds", ""), cells, (2,)),))
