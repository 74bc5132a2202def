"""The result of a benchmark on episodes as tables for people; works from ``summary.json`` alone."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from rich.console import Console
from rich.table import Table
from rich.text import Text

from colasearch.benchmarks.episodes.arms import ONCE
from colasearch.cli.bench_table import percent, plain_table, wide_console
from colasearch.printable import visible


def score_said(part: Mapping[str, Any]) -> str:
    """``0.450 [0.307, 0.602]``; empty where there is no score."""
    if part["mean"] is None:
        return ""
    low, high = part["ci95"]
    return f"{part['mean']:.3f} [{low:.3f}, {high:.3f}]"


def show_summary(summary: Mapping[str, Any], console: Console | None = None) -> None:
    """Print arms, comparisons, tasks and verdict."""
    console = console or wide_console()
    state = "" if summary["complete"] else ", INCOMPLETE"
    head = (
        f"{summary['benchmark']}, {summary['n']} episodes, {summary['model']}, {summary['sims']} simulations, "
        f"seed {summary['seed']}{state}"
    )
    console.print(Text(visible(head), style="bold"))
    console.print()
    console.print(_arms(summary))
    if summary["comparisons"]:
        console.print()
        console.print(_comparisons(summary))
    if len(summary["curve"]) > 1:
        console.print()
        console.print(_curve(summary))
    if len(next(iter(summary["arms"].values()))["by"]["subject"]) > 1:
        console.print()
        console.print(_tasks(summary))
    console.print()
    console.print(Text(visible(summary["verdict"])))
    for remark in summary["data"].get("remarks", []):
        console.print(Text(visible(f"Note: {remark}"), style="yellow"))


def _arms(summary: Mapping[str, Any]) -> Table:
    table = plain_table(
        "arm",
        "score",
        "solved %",
        "any solved %",
        "actions",
        "new steps",
        "replayed",
        "tokens",
        "cut",
        "seconds",
        "errors",
    )
    for name, arm in summary["arms"].items():
        n, fine = max(1, arm["n"]), max(1, arm["n"] - arm["errors"])
        table.add_row(
            Text(name, style="bold" if name == summary["searcher"] else ""),
            score_said(arm["score"]),
            percent(arm["success"]),
            percent(arm["oracle"]) if name not in ONCE else "",
            f"{arm['steps'] / fine:.1f}",
            f"{arm['environment_steps'] / fine:.1f}",
            f"{arm['replayed_steps'] / fine:.1f}",
            f"{arm['generated_tokens'] / fine:,.0f}",
            str(arm["cut_actions"]),
            f"{arm['seconds'] / n:.2f}",
            str(arm["errors"]),
        )
    table.caption = (
        "score: mean sum of rewards, bootstrap 95%; solved: Wilson 95%; actions, steps, tokens and seconds an episode; "
        "replayed: steps that only came back to a state; cut: actions cut at --max-tokens, in all"
    )
    table.caption_justify = "left"
    return table


def _comparisons(summary: Mapping[str, Any]) -> Table:
    table = plain_table(
        "paired", "solved, points", "alone solved", "exact p", "score", "95% bootstrap", "its steps", "its tokens"
    )
    for c in summary["comparisons"]:
        interval = "" if c["score_ci95"] is None else f"{c['score_ci95'][0]:+.3f} to {c['score_ci95'][1]:+.3f}"
        table.add_row(
            f"{c['first']} - {c['second']}",
            f"{100 * c['difference']:+.1f}",
            f"{c['only_first']} : {c['only_second']}",
            f"{c['p_value']:.2g}",
            "" if c["score_difference"] is None else f"{c['score_difference']:+.3f}",
            interval,
            "" if c["step_ratio"] is None else f"{c['step_ratio']:.2f}x",
            "" if c["token_ratio"] is None else f"{c['token_ratio']:.2f}x",
        )
    table.caption = "exact p: McNemar's test; its steps, its tokens: of the second arm, as multiples of the first's"
    table.caption_justify = "left"
    return table


def _curve(summary: Mapping[str, Any]) -> Table:
    names = list(summary["arms"])
    table = plain_table("simulations", *(f"{name}, solved %" for name in names))
    for point in summary["curve"]:
        table.add_row(str(point["sims"]), *(percent(point["arms"][name]["success"]) for name in names))
    return table


def _tasks(summary: Mapping[str, Any]) -> Table:
    names = list(summary["arms"])
    table = plain_table("task", "episodes", *(f"{name}, solved %" for name in names))
    for task, first in next(iter(summary["arms"].values()))["by"]["subject"].items():
        parts = (summary["arms"][name]["by"]["subject"][task] for name in names)
        table.add_row(Text(visible(task)), str(first["n"]), *(percent(part) for part in parts))
    return table
