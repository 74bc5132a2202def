"""The report of the agents experiment: RL on codes and on tokens, what it did to the base's text, and search."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from colasearch.experiments.reports.document import Document, Section, Table, begun, run_facts, write_document
from colasearch.experiments.running.stages import Stage
from colasearch.report.charts import Chart, Series

TITLE = "Agents: a tiny model that acts"
COLORS = {"codes": 0, "tokens": 1}


def write_report(root: Path, summary: Mapping[str, Any], manifest: Mapping[str, Any], stages: Sequence[Stage]) -> None:
    """Write ``report.md``, ``plots/`` and ``report.html`` into run folder ``root``."""
    document = Document(
        title=TITLE,
        lead=lead(summary),
        command="colasearch experiment agents",
        facts=(
            f"environment {summary['environment']}",
            f"{summary['episodes']} test episodes",
            f"{summary['arms'][0]['seeds']} seeds",
            begun(manifest),
        ),
        parts=(_learning(summary), _text(summary), _search(summary)),
        stages=stages,
        run=run_facts(manifest, manifest.get("settings", {})),
    )
    write_document(root, document)


def lead(summary: Mapping[str, Any]) -> str:
    """The first sentence: whether RL on codes and on tokens differ, whichever way."""
    one = summary["contrast"]
    said = "a difference is shown" if one["shown"] else "no difference is shown"
    return (
        "What RL on codes gained in greedy success, less what RL on tokens gained: "
        f"{_points(one['success'], one['ci95'])} points; {said}."
    )


def _share(value: float, ci95: Sequence[float] | None = None) -> str:
    return f"{100 * value:.1f}" + ("" if ci95 is None else f" ({100 * ci95[0]:.1f} to {100 * ci95[1]:.1f})")


def _played(arm: Mapping[str, Any]) -> tuple[str, str]:
    return _share(arm["success"], arm["ci95"]), f"{arm['score']:.3f}"


def _points(value: float, ci95: Sequence[float]) -> str:
    return f"{100 * value:+.1f} ({100 * ci95[0]:+.1f} to {100 * ci95[1]:+.1f})"


def _learning(summary: Mapping[str, Any]) -> Section:
    rows = []
    for level in COLORS:
        before = summary["before"][level]
        rows.append((f"before RL, {level}", "", *_played(before), ""))
    for arm in summary["arms"]:
        trained = f"{summary['parameters'][arm['on']]:,}"
        cells = (_share(arm["success"], arm["ci95"]), f"{arm['score']:.3f}")
        gain = _points(arm["gain"]["success"], arm["gain"]["ci95"])
        rows.append((f"after RL on {arm['on']}, all seeds", trained, *cells, gain))
    for run in summary["runs"]:
        name = f"{run['on']}, seed {run['seed']}"
        rows.append((name, f"{run['trained_parameters']:,}", *_played(run["greedy"]), ""))
    head = ("model", "trained parameters", "success %", "score", "success less before")
    text = (
        "Greedy on test variations, actions written freely, after "
        f"{summary['runs'][0]['rollouts']:,} rollouts each. "
        "Intervals of one run are Wilson's, of several a bootstrap over episodes."
    )
    charts = tuple(
        Chart(
            name=f"rl-{key}",
            title=f"RL: {label}",
            x_label="round",
            y_label=label,
            series=tuple(
                Series(
                    f"{run['on']}, seed {run['seed']}", run["curve"]["step"], run["curve"][key], color=COLORS[run["on"]]
                )
                for run in summary["runs"]
            ),
        )
        for key, label in (("reward", "mean score of the rollouts"), ("kl", "KL from the start, nats an episode"))
    )
    return Section("Does RL on codes gain what RL on tokens gains?", text, (Table(head, tuple(rows)),), charts)


def _text(summary: Mapping[str, Any]) -> Section:
    rows = []
    for run in summary["runs"]:
        for under, one in run["text"].items():
            low, high = one["ci95"]
            rows.append(
                (
                    f"{run['on']}, seed {run['seed']}",
                    "mixture of codes" if under == "codes" else "base alone",
                    f"{one['before']['perplexity']:.4f}",
                    f"{one['after']['perplexity']:.4f}",
                    f"{one['difference']:+.4f} ({low:+.4f} to {high:+.4f})",
                )
            )
    head = ("RL on", "read by", "perplexity before", "after", "nats a token")
    text = (
        "Perplexity of the observations of held-out episodes, which are no actions and bring no reward. RL on codes "
        "leaves the base as it is, so its own text cannot change; the mixture of codes can."
    )
    return Section("Does it harm the base's text?", text, (Table(head, tuple(rows), (1,)),))


def _search(summary: Mapping[str, Any]) -> Section:
    rows = []
    for point in summary["search"]:
        for name, arm in point["arms"].items():
            if point["equal"] == "tokens" and name != "best_of_n":
                continue
            cost = (f"{arm['environment_steps']:,}", f"{arm['tokens']:,.0f}")
            label = f"{name}, equal {point['equal']}" if name == "best_of_n" else name
            rows.append((str(point["sims"]), label, _share(arm["success"], arm["ci95"]), f"{arm['score']:.3f}", *cost))
    head = ("sims", "arm", "success %", "score", "new steps, all episodes", "tokens an episode")
    less = "; ".join(
        f"{point['sims']} simulations, equal {point['equal']}: "
        f"{_points(point['less_best_of_n']['success'], point['less_best_of_n']['ci95'])} points, "
        f"{'shown' if point['less_best_of_n']['shown'] else 'not shown'}"
        for point in summary["search"]
        if point["less_best_of_n"]
    )
    text = f"Planning in the true environment, actions chosen among the valid ones. Search less best-of-N: {less}."
    return Section("Is search worth its steps?", text, (Table(head, tuple(rows), (1,)),))
