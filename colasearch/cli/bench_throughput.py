"""``colasearch bench throughput``: how fast a search with a model is, and how fast the searchers themselves are."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from colasearch.cli.bench_speed import names, numbers, toy_throughput
from colasearch.cli.options import option

if TYPE_CHECKING:
    pass

EPILOG = """\b
Examples:
  colasearch bench throughput --model smollm2-135m --trees 1,16 --sims 16,64
  colasearch bench throughput --model random-5m --trees 16 --sims 64 --json
  colasearch bench throughput --world toy --trees 64
"""


def _growth(context: click.Context, parameter: click.Parameter, value: str) -> list[int]:
    return numbers(context, parameter, value) if value else []


@click.command(epilog=EPILOG)
@option("--model", default=None, help="Known name, folder, hub name, random-5m or random-135m; without, a toy world.")
@option("--world", type=click.Choice(["toy"]), default="toy", help="What is searched without a model.")
@option("--searcher", default=None, help="Searchers, separated by commas [default: gumbel; toy: three].")
@option("--trees", default=None, help="Numbers of trees searched at once [default: 16; toy: 1,16,64,256].")
@option("--sims", default="64", callback=numbers, help="Simulations a tree; toy: one number.")
@option("--max-tokens", type=click.IntRange(min=1), default=128, help="Longest text.")
@option("--batch-size", type=click.IntRange(min=1), default=16, help="Most leaves of a tree evaluated together.")
@option("--rows", type=click.IntRange(min=1), default=64, help="Most texts decoded in one batch.")
@option("--kv-memory", type=click.FloatRange(min=0, min_open=True), default=4.0, help="GiB kept for tree nodes.")
@option("--engine", type=click.Choice(["auto", "tree", "paged", "whole"]), default="auto", help="As of solve.")
@option("--device", default="auto", help="auto, cpu, cuda, cuda:N, or spread: over all GPUs.")
@option("--dtype", default="auto", help="auto, packed, float32, bfloat16 or float16.")
@option("--threads", type=click.IntRange(min=1), help="CPU threads [default: torch's choice].")
@option("--seed", type=int, default=0, help="Run seed.")
@click.option("--naive/--no-naive", default=True, help="Also measure the published loop (batch 1, nothing shared).")
@click.option("--generate/--no-generate", default=True, help="Also measure transformers' generate.")
@option("--plot", type=click.Path(path_type=Path), default=None, help="Draw seconds against simulations into a file.")
@option("--actions", type=click.IntRange(min=1), default=64, help="Toy: actions at each node.")
@option("--repeats", type=click.IntRange(min=1), default=5, help="Toy: timed runs; the fastest counts.")
@click.option("--peers/--no-peers", default=True, help="Toy: also measure mctx and treequest, if installed.")
@click.option("--growth", default="", callback=_growth, help="Toy: also 16 trees at these simulations, e.g. 64,256.")
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object.")
@click.pass_context
def throughput(
    context: click.Context, /, model: str | None, searcher: str | None, trees: str | None, sims: list[int], **how: Any
) -> None:
    """Measure speed.

    With --model: tokens and simulations a second of a search, next to plain batched greedy decoding with the same
    engine (the limit), transformers' generate, and the published loop. Without: the searchers' own simulations a second
    on a world that costs next to nothing.
    """
    parameter = context.command.params[3]
    counts = numbers(context, parameter, trees or ("16" if model else "1,16,64,256"))
    chosen = names(context, parameter, searcher or ("gumbel" if model else "gumbel,puct,ab_mcts"))
    if model is None:
        toy_throughput(
            chosen, counts, how["actions"], sims[0], how["repeats"], how["peers"], how["growth"], how["as_json"]
        )
        return
    record = _measure(model, chosen[0], counts, sims, how)
    if how["plot"] is not None:
        _plot(record, how["plot"])
    if how["as_json"]:
        click.echo(json.dumps(record))
    else:
        _print(record)


def _measure(model: str, searcher: str, trees: list[int], sims: list[int], how: dict[str, Any]) -> dict[str, Any]:
    import torch

    from colasearch.benchmarks.measurements import model_speed as speed
    from colasearch.benchmarks.measurements.random_model import SIZES, random_model
    from colasearch.benchmarks.measurements.throughput import machine
    from colasearch.engine.settings import SearchSettings, WorldConfig
    from colasearch.model.latent_lm import LatentLM
    from colasearch.tasks import prompt_tokens

    if how["threads"]:
        torch.set_num_threads(how["threads"])
    load = random_model if model in SIZES else LatentLM.from_pretrained
    lm = load(model, device=how["device"], dtype=how["dtype"])
    limit, batch = how["max_tokens"], how["batch_size"]

    def settings(count: int) -> SearchSettings:
        # Steps are lines, so that what is measured is the engine; what asking for certainty costs besides stands in
        # docs/performance.md.
        kept = int(how["kv_memory"] * 2**30)
        world = WorldConfig(max_tokens=limit, branch_below=0.0, rows=how["rows"], kv_bytes=kept, engine=how["engine"])
        return SearchSettings(searcher=searcher, sims=count, seed=how["seed"], leaves_in_flight=batch, world=world)

    rows: list[dict[str, Any]] = []
    limits: dict[int, float] = {}
    for count in trees:
        size = min(how["rows"], count * batch)
        prompts = [prompt_tokens(lm.base.tokenizer, p) for p in speed.problems_for(size)]
        if size not in limits:
            limits[size] = speed.batched_speed(lm, prompts, tokens=size * limit, new=limit)
        for number in sims:
            found = speed.search_speed(lm, count, settings(number))
            rows.append({**found.to_json(), "rows": size, "batched_tokens_per_s": limits[size]})
            click.echo(f"{count} trees, {number} sims: {found.tokens_per_s:,.0f} tokens/s", err=True)
    naive = speed.naive_speed(lm, settings(4), sims=4) if how["naive"] else None
    eight = [prompt_tokens(lm.base.tokenizer, p) for p in speed.problems_for(8)]
    generated = ours = None
    if how["generate"]:
        generated = speed.generate_speed(lm, eight, new=32)
        ours = speed.batched_speed(lm, eight, tokens=8 * 32, new=32)
    ceiling = speed.matmul_ceiling(lm)
    last = rows[-1]
    return {
        "schema": 1,
        "model": model,
        "trees": last["trees"],
        "sims": last["sims"],
        "search_tokens_per_s": last["tokens_per_s"],
        "batched_tokens_per_s": last["batched_tokens_per_s"],
        "naive_tokens_per_s": naive,
        "fraction_outside_model": last["fraction_outside_model"],
        "peak_bytes": last["peak_bytes"],
        "generate_batch_8_tokens_per_s": generated,
        "batched_batch_8_tokens_per_s": ours,
        "matmul_flops_per_s": ceiling,
        "flops_per_token": speed.flops_per_token(lm),
        "searcher": searcher,
        "dtype": "packed" if lm.base.packed else str(lm.base.dtype).removeprefix("torch."),
        "threads": torch.get_num_threads(),
        "machine": machine(),
        "runs": rows,
    }


def _ratios(record: dict[str, Any], run: dict[str, Any]) -> Iterator[str]:
    """Cells of a table row."""
    yield str(run["trees"])
    yield str(run["sims"])
    yield f"{run['tokens']:,}"
    yield f"{run['seconds']:.1f}"
    yield f"{run['tokens_per_s']:,.0f}"
    yield f"{run['sims_per_s']:.1f}"
    yield f"{run['rows_per_call']:.1f}"
    yield f"{run['tokens_per_s'] / run['batched_tokens_per_s']:.2f}"
    naive = record["naive_tokens_per_s"]
    yield f"{run['tokens_per_s'] / naive:.1f}" if naive else ""
    share = run["tokens_per_s"] * record["flops_per_token"] / record["matmul_flops_per_s"]
    yield f"{share:.2f}"
    yield f"{run['fraction_outside_model']:.1%}"
    yield f"{run['prefill_ratio']:.2f}"
    yield f"{run['padding']:.0%}"
    yield f"{run['tree_bytes'] / max(1, run['unique_bytes']):.2f}"
    yield f"{run['peak_bytes'] / 1e6:,.0f}"


def _print(record: dict[str, Any]) -> None:
    """Print Markdown tables, which read well in a terminal and paste into a page."""
    heads = [
        "trees", "sims", "tokens", "s", "tokens/s", "sims/s", "rows a call", "x plain batched", "x published loop",
        "of matmul", "outside model", "prefill", "padding", "tree KV", "peak MB",
    ]  # fmt: skip
    click.echo(
        f"{record['model']}, {record['searcher']}, {record['dtype']}, {record['threads']} threads; matrix products "
        f"{record['matmul_flops_per_s'] / 1e9:,.0f} GFLOP/s\n"
    )
    click.echo("| " + " | ".join(heads) + " |")
    click.echo("|" + "---:|" * len(heads))
    for run in record["runs"]:
        click.echo("| " + " | ".join(_ratios(record, run)) + " |")
    click.echo("")
    plain = {run["rows"]: run["batched_tokens_per_s"] for run in record["runs"]}
    for rows, rate in plain.items():
        click.echo(f"plain batched greedy decoding, {rows} rows: {rate:,.0f} tokens/s")
    if record["generate_batch_8_tokens_per_s"]:
        theirs, ours = record["generate_batch_8_tokens_per_s"], record["batched_batch_8_tokens_per_s"]
        click.echo(f"batch 8: transformers' generate {theirs:,.0f} tokens/s, this engine {ours:,.0f}")
    if record["naive_tokens_per_s"]:
        click.echo(f"published loop: {record['naive_tokens_per_s']:,.1f} tokens/s")


def _plot(record: dict[str, Any], path: Path) -> None:
    """Seconds against simulations, one line a number of trees, both axes logarithmic."""
    from colasearch.errors import PrerequisiteError

    try:
        import matplotlib
    except ModuleNotFoundError:
        raise PrerequisiteError("--plot needs matplotlib; pip install '.[viz]'") from None
    matplotlib.use("Agg")
    from matplotlib import pyplot

    figure, axes = pyplot.subplots(figsize=(6, 4), layout="constrained")
    for trees in dict.fromkeys(run["trees"] for run in record["runs"]):
        runs = [run for run in record["runs"] if run["trees"] == trees]
        axes.plot([r["sims"] for r in runs], [r["seconds"] for r in runs], marker="o", label=f"{trees} trees")
    axes.set(xscale="log", yscale="log", xlabel="simulations a tree", ylabel="seconds", title=record["model"])
    axes.grid(alpha=0.3, which="both")
    axes.legend()
    figure.savefig(path)
    pyplot.close(figure)
