"""``colasearch compare``: two runs of one benchmark, paired problem by problem."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import click

EPILOG = """\b
Examples:
  colasearch compare runs/before runs/after
  colasearch compare runs/before runs/after --judge judge:qwen@http://127.0.0.1:8000
  colasearch compare runs/before runs/after --judge rm:runs/reward/model
"""


@click.command(name="compare", epilog=EPILOG)
@click.argument("run_a", type=click.Path(path_type=Path))
@click.argument("run_b", type=click.Path(path_type=Path))
@click.option("--sims", type=click.IntRange(min=1), help="Compare at this point of a curve [default: the largest].")
@click.option(
    "--judge",
    metavar="SPEC",
    help="Also say whose texts are better by this reward; judge:MODEL@URL is asked about each pair in both orders.",
)
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object.")
def command(run_a: Path, run_b: Path, sims: int | None, judge: str | None, as_json: bool) -> None:
    """Compare two runs of one benchmark on the problems that both have.

    Refuses runs of different benchmarks or different data. Differences are RUN_A less RUN_B, with the 95% interval of a
    paired bootstrap and the p of McNemar's exact test. A difference is shown if at least 6 problems tell the runs
    apart, p is below 0.05 and the interval leaves out 0.
    """
    from colasearch.benchmarks.harness.comparison import Run, compare

    first, second = Run.read(run_a), Run.read(run_b)
    result = compare(first, second, sims)
    if judge is not None:
        from colasearch.benchmarks.harness.contest import contest
        from colasearch.rewards import chooser_of

        arms = [(row["first_arm"], row["second_arm"]) for row in result["rows"]]
        result["judge"] = contest(first, second, arms, chooser_of(judge), sims)
    if as_json:
        click.echo(json.dumps(result, ensure_ascii=False))
    else:
        _show(result)


def _show(result: dict[str, Any]) -> None:
    from rich.text import Text

    from colasearch.cli.bench_table import percent, plain_table, wide_console
    from colasearch.printable import visible

    console = wide_console()
    console.print(Text(visible(f"{result['benchmark']}: A = {result['first']}, B = {result['second']}"), style="bold"))
    for line in result["differences"]:
        console.print(Text(visible(f"  differs in {line}"), style="dim"), soft_wrap=True)
    console.print()
    table = plain_table("arm", "problems", "A %", "B %", "A - B", "95% bootstrap", "alone right", "exact p", "")
    for row in result["rows"]:
        mine, theirs = row["first_arm"], row["second_arm"]
        low, high = row["ci95"]
        table.add_row(
            Text(visible(mine if mine == theirs else f"{mine} / {theirs}")),
            str(row["n"]),
            percent(row["first"]),
            percent(row["second"]),
            f"{100 * row['difference']:+.1f}",
            f"{100 * low:+.1f} to {100 * high:+.1f}",
            f"{row['only_first']} : {row['only_second']}",
            f"{row['p_value']:.2g}",
            "shown" if row["separate"] else "not shown",
        )
    console.print(table)
    if "judge" in result:
        _show_contest(console, result["judge"])


def _show_contest(console: Any, judged: dict[str, Any]) -> None:
    from rich.text import Text

    from colasearch.cli.bench_table import plain_table
    from colasearch.printable import visible

    console.print(Text(visible(f"\nA's texts against B's, judged by {judged['spec']}"), style="bold"))
    table = plain_table("arm", "pairs", "won", "lost", "tied", "win rate %", "95% bootstrap", "exact p", "")
    for row in judged["rows"]:
        mine, theirs = row["first_arm"], row["second_arm"]
        low, high = row["ci95"]
        table.add_row(
            Text(visible(mine if mine == theirs else f"{mine} / {theirs}")),
            *(str(row[key]) for key in ("n", "wins", "losses", "ties")),
            f"{100 * row['win_rate']:.1f}",
            f"{100 * low:.1f} to {100 * high:.1f}",
            f"{row['p_value']:.2g}",
            "shown" if row["separate"] else "not shown",
        )
    console.print(table)
    for row in judged["rows"]:
        for line in _remarks(row):
            console.print(Text(visible(f"  {row['first_arm']}: {line}"), style="dim"), soft_wrap=True)


def _remarks(row: dict[str, Any]) -> list[str]:
    """What to know of a row beside its win rate: unjudged pairs, the judge's bias, the texts' lengths."""
    lines = []
    if row["unjudged"]:
        lines.append(f"{row['unjudged']} pairs could not be judged and do not count ({row['why']})")
    if (place := row["position"]) is not None:
        first, second = place["won_by_place"]
        bias = "it goes by place" if place["biased"] else "no bias shown"
        lines.append(
            f"with the order swapped the judge changed its mind on {place['changed']} of {place['pairs']} pairs, which "
            f"are ties here; it took what it saw first {first} times, what it saw last {second} times: {bias}"
        )
    a, b = row["characters"]
    lines.append(f"texts have {a:.0f} characters in A, {b:.0f} in B")
    return lines
