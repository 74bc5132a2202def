"""``colasearch compare``: two runs of one benchmark, paired problem by problem."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import click

EPILOG = "Example: colasearch compare runs/before runs/after"


@click.command(name="compare", epilog=EPILOG)
@click.argument("run_a", type=click.Path(path_type=Path))
@click.argument("run_b", type=click.Path(path_type=Path))
@click.option("--sims", type=click.IntRange(min=1), help="Compare at this point of a curve [default: the largest].")
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object.")
def command(run_a: Path, run_b: Path, sims: int | None, as_json: bool) -> None:
    """Compare two runs of one benchmark on the problems that both have.

    Refuses runs of different benchmarks or different data. Differences are RUN_A less RUN_B, with the 95% interval of a
    paired bootstrap and the p of McNemar's exact test. A difference is shown if at least 6 problems tell the runs
    apart, p is below 0.05 and the interval leaves out 0.
    """
    from colasearch.benchmarks.harness.comparison import Run, compare

    result = compare(Run.read(run_a), Run.read(run_b), sims)
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
