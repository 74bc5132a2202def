"""``colasearch bench throughput`` and ``bench searchers``: the searchers' own speed and judgement."""

from __future__ import annotations

import json
from typing import Any

import click

from colasearch.cli.options import option


def numbers(context: click.Context, parameter: click.Parameter, value: str) -> list[int]:
    """Numbers from ``1,16,64``."""
    try:
        numbers = [int(part) for part in value.split(",")]
    except ValueError:
        numbers = [0]
    if min(numbers) < 1:
        raise click.BadParameter(f"{value!r} is not a list of whole numbers above 0; write e.g. 1,16,64")
    return numbers


def names(context: click.Context, parameter: click.Parameter, value: str) -> list[str]:
    """Algorithm names from ``gumbel,puct``."""
    from colasearch.searchers import ALGORITHMS

    names = value.split(",")
    for name in names:
        if name not in ALGORITHMS:
            raise click.BadParameter(f"{name!r} is not a searcher; choose from {', '.join(sorted(ALGORITHMS))}")
    return names


def toy_throughput(
    searcher: list[str],
    trees: list[int],
    actions: int,
    sims: int,
    repeats: int,
    peers: bool,
    growth: list[int],
    as_json: bool,
) -> None:
    """Measure the searchers' own speed in simulations a second, next to other libraries.

    Measured on the toy world, whose steps are table look-ups: what is left is selection, backup and bookkeeping.
    """
    from colasearch.benchmarks.measurements import throughput as speed

    rates: list[speed.Rate] = []
    for rate in speed.compare(searcher, trees, sims=sims, actions=actions, repeats=repeats, peers=peers):
        if isinstance(rate, str):
            click.echo(rate, err=True)
            continue
        rates.append(rate)
        click.echo(f"{rate.program}: {rate.trees} trees, {rate.sims_per_s:,.0f} simulations/s", err=True)
    grown: list[speed.Rate] = []
    if growth:
        grown = list(speed.growth(searcher[0], growth, trees=16, actions=actions, repeats=repeats))
    if as_json:
        record: dict[str, Any] = {
            "schema": 1,
            "world": "toy",
            "actions": actions,
            "sims": sims,
            "machine": speed.machine(),
            "rates": [rate.to_json() for rate in rates],
            "growth": [rate.to_json() for rate in grown],
        }
        click.echo(json.dumps(record))
        return
    _print_tables(rates, grown, trees, sims, actions)


@click.command(epilog="Example: colasearch bench searchers --tokens 64")
@option("--trees", type=click.IntRange(min=1), default=200, help="Number of trees.")
@option("--tokens", type=click.IntRange(min=1), default=64, help="Most tokens a tree; one step costs one.")
@option("--actions", type=click.IntRange(min=2), default=8, help="Actions at each node.")
@option("--depth", type=click.IntRange(min=1, max=6), default=4, help="Steps of each path.")
@option("--noise", type=click.FloatRange(min=0), default=0.1, help="Error of the value head.")
@option("--knowledge", type=float, default=4.0, help="How much the policy knows; 0 is nothing.")
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object.")
def searchers(trees: int, tokens: int, actions: int, depth: int, noise: float, knowledge: float, as_json: bool) -> None:
    """Compare all searchers at equal tokens on small worlds whose best answers are known by enumeration."""
    from colasearch.benchmarks.measurements import quality

    rows = list(
        quality.compare(trees=trees, tokens=tokens, actions=actions, depth=depth, noise=noise, knowledge=knowledge)
    )
    if as_json:
        settings = {"trees": trees, "tokens": tokens, "actions": actions, "depth": depth}
        skill = {"noise": noise, "knowledge": knowledge}
        record = {"schema": 1, "world": "known trees", **settings, **skill, "rows": [row.to_json() for row in rows]}
        click.echo(json.dumps(record))
        return
    click.echo("| searcher | tokens spent | best first action | pay of the answer | error of the root value |")
    click.echo("|---|---:|---:|---:|---:|")
    for row in rows:
        click.echo(
            f"| {row.searcher} | {row.tokens:.1f} | {row.best_action:.1%} | {row.pay:.1%} | {row.value_error:.3f} |"
        )


def _print_tables(rates: list[Any], grown: list[Any], trees: list[int], sims: int, actions: int) -> None:
    """Print Markdown tables, which read well in a terminal and paste into a page."""
    click.echo(f"Simulations a second on the toy world, {actions} actions, {sims} simulations a tree\n")
    click.echo("| program | " + " | ".join(f"{count} trees" for count in trees) + " |")
    click.echo("|---|" + "---:|" * len(trees))
    cells = {(rate.program, rate.trees): f"{rate.sims_per_s:,.0f}" for rate in rates}
    for program in dict.fromkeys(rate.program for rate in rates):
        click.echo(f"| {program} | " + " | ".join(cells.get((program, count), "") for count in trees) + " |")
    if grown:
        click.echo(f"\n{grown[0].program}, {grown[0].trees} trees: cost of one simulation as trees grow\n")
        click.echo("| simulations a tree | microseconds a simulation |\n|---:|---:|")
        for rate in grown:
            click.echo(f"| {rate.sims} | {1e6 / rate.sims_per_s:.1f} |")
