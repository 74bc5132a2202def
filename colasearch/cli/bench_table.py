"""The result of a benchmark run as tables for people; works from ``summary.json`` alone."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from rich.console import Console
from rich.table import Table
from rich.text import Text

from colasearch.benchmarks.harness.summary import cut_said
from colasearch.benchmarks.names import BASELINES, SCORED
from colasearch.printable import visible


def percent(part: Mapping[str, Any]) -> str:
    """``45.0 [30.7, 60.2]`` in percent."""
    low, high = part["ci95"]
    return f"{100 * part['accuracy']:.1f} [{100 * low:.1f}, {100 * high:.1f}]"


def wide_console() -> Console:
    """A console on standard output whose tables are not cut where it is no terminal."""
    console = Console(highlight=False)
    return console if console.is_terminal else Console(highlight=False, width=max(console.width, 140))


def plain_table(*columns: str) -> Table:
    """A table without lines; the first column is text, the others are numbers. Narrow terminals wrap cells."""
    table = Table(box=None, pad_edge=False, header_style="dim", padding=(0, 1))
    for number, column in enumerate(columns):
        table.add_column(column, justify="left" if number == 0 else "right", overflow="fold")
    return table


def show_summary(summary: Mapping[str, Any], console: Console | None = None) -> None:
    """Print arms, comparisons, parts and verdict."""
    console = console or wide_console()
    state = "" if summary["complete"] else ", INCOMPLETE"
    console.print(
        Text(
            visible(
                f"{summary['benchmark']}, {summary['n']} problems, {summary['model']}, {summary['sims']} simulations, "
                f"seed {summary['seed']}{state}"
            ),
            style="bold",
        )
    )
    console.print()
    console.print(_arms(summary))
    for name, arm in summary["arms"].items():
        if arm["pass_at_k"] and name not in SCORED:  # its texts are those of majority vote
            passes = ", ".join(f"{k}: {100 * value:.1f}" for k, value in arm["pass_at_k"].items())
            console.print(Text(f"pass@k in %, of the texts of {name}: {passes}", style="dim"))
    for sentence in cut_said(summary):
        console.print(Text(sentence, style="yellow"))
    console.print()
    console.print(_comparisons(summary))
    if len(summary["curve"]) > 1:
        console.print()
        console.print(_curve(summary))
    for field in ("subject", "level"):
        if any(part["by"].get(field) for part in summary["arms"].values()):
            console.print()
            console.print(_parts(summary, field))
    console.print()
    console.print(Text(visible(summary["verdict"])))
    for remark in summary["data"].get("remarks", []):
        console.print(Text(visible(f"Note: {remark}."), style="yellow"))


def _arms(summary: Mapping[str, Any]) -> Table:
    columns = ("arm", "solved %", "any text %", "texts", "cut", "tokens", "calls", "seconds", "sims/s", "errors")
    table = plain_table(*columns)
    for name, arm in summary["arms"].items():
        n, seconds = max(1, arm["n"]), arm["seconds"]
        # A baseline has no simulations; greedy has no choice between texts.
        is_search = name not in BASELINES
        table.add_row(
            Text(name, style="bold" if name == summary["searcher"] else ""),
            percent(arm["selected"]),
            percent(arm["oracle"]),
            f"{arm['texts'] / n:.1f}",
            str(arm.get("cut", "")),
            f"{arm['generated_tokens'] / n:,.0f}",
            f"{arm['model_calls'] / n:,.0f}",
            f"{seconds / n:.2f}",
            f"{arm['sims_done'] / seconds:.1f}" if is_search and seconds else "",
            str(arm["errors"]),
        )
    table.caption = "texts, tokens, calls and seconds a problem; cut: texts in all; intervals are Wilson's 95%"
    table.caption_justify = "left"
    return table


def _comparisons(summary: Mapping[str, Any]) -> Table:
    table = plain_table("paired, in points", "difference", "95% bootstrap", "alone right", "exact p", "its tokens", "")
    for c in summary["comparisons"]:
        low, high = c["ci95"]
        # Greedy is one text by nature; the caption says so.
        star = "*" if c["second"] == "greedy" else ""
        table.add_row(
            f"{c['first']} - {c['second']}{star}",
            f"{100 * c['difference']:+.1f}",
            f"{100 * low:+.1f} to {100 * high:+.1f}",
            f"{c['only_first']} : {c['only_second']}",
            f"{c['p_value']:.2g}",
            f"{c['token_ratio']:.2f}x" if c["token_ratio"] is not None else "",
            "shown" if c["separate"] else "not shown",
        )
    table.caption = "exact p: McNemar's test; its tokens: of the second arm, as a multiple of the first's"
    if any(c["second"] == "greedy" for c in summary["comparisons"]):
        table.caption += "; * one text, tokens not matched"
    table.caption_justify = "left"
    return table


def _curve(summary: Mapping[str, Any]) -> Table:
    names = list(summary["arms"])
    table = plain_table("simulations", "tokens", *(f"{name} %" for name in names))
    for point in summary["curve"]:
        searched = point["arms"][summary["searcher"]]
        table.add_row(
            str(point["sims"]),
            f"{searched['generated_tokens'] / max(1, searched['n']):,.0f}",
            *(percent(point["arms"][name]["selected"]) for name in names),
        )
    return table


def _parts(summary: Mapping[str, Any], field: str) -> Table:
    names = list(summary["arms"])
    table = plain_table(field, "problems", *(f"{name} %" for name in names))
    for part, first in next(iter(summary["arms"].values()))["by"][field].items():
        table.add_row(
            Text(visible(part)),
            str(first["n"]),
            *(percent(summary["arms"][name]["by"][field][part]) for name in names),
        )
    return table
