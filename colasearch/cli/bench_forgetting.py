"""``colasearch bench forgetting``: what RL cost a model on general text, on codes and on tokens."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import click

EPILOG = """\b
Examples:
  colasearch bench forgetting --before runs/policy/model --after runs/rl/model --data texts.jsonl
  colasearch bench forgetting --before BASE --after runs/rl-tokens/model --on tokens --data texts.jsonl
  colasearch bench forgetting --before runs/policy/model --after runs/rl/model --data lm-eval:arc_easy --limit 200
"""
LM_EVAL = "lm-eval:"


@click.command(epilog=EPILOG)
@click.option("--before", required=True, help="The model before training.")
@click.option("--after", required=True, help="The model after it, with the same tokenizer.")
@click.option(
    "--data",
    required=True,
    help="Held-out text: jsonl with text (or problem and solution), or episodes (`train problems --kind env:NAME`), of "
    "which all but the actions counts; or lm-eval:TASK, also lm-eval:FILE.yaml.",
)
@click.option(
    "--on",
    type=click.Choice(["codes", "tokens", "both"]),
    default="both",
    show_default=True,
    help="The mixture of the model's codes, the base's own tokens, or each.",
)
@click.option("--limit", type=click.IntRange(min=1), help="Use only the first LIMIT texts or questions.")
@click.option("--max-tokens", type=click.IntRange(min=2), default=512, show_default=True, help="Cut longer texts off.")
@click.option("--device", default="auto", show_default=True)
@click.option("--dtype", default="auto", show_default=True)
@click.option("--threads", type=click.IntRange(min=1), help="CPU threads (default: torch's own choice).")
@click.option("--seed", default=0, show_default=True, help="Of the bootstrap.")
@click.option("--output", type=click.Path(path_type=Path), help="Also write the JSON object to this file.")
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object.")
def forgetting(
    before: str,
    after: str,
    data: str,
    on: str,
    limit: int | None,
    max_tokens: int,
    device: str,
    dtype: str,
    threads: int | None,
    seed: int,
    output: Path | None,
    as_json: bool,
) -> None:
    """Compare a model before and after training on text that it was not trained on.

    A model on codes is measured by the mixture of its codes, the sum over codes of the policy's probability times the
    world model's of the token; on tokens its base alone is. A difference is shown if its 95% bootstrap interval over
    texts leaves out 0.
    """
    import torch

    if threads:
        torch.set_num_threads(threads)
    ways = ["codes", "tokens"] if on == "both" else [on]
    if data.startswith(LM_EVAL):
        from colasearch.benchmarks.harness.lm_eval_tasks import compare_on_task

        result = compare_on_task(data.removeprefix(LM_EVAL), (before, after), ways, device, dtype, limit, seed)
    else:
        result = _on_text(Path(data), (before, after), ways, device, dtype, limit, max_tokens, seed)
    result = {"schema": 1, "before": before, "after": after, "data": data, **result}
    if output is not None:
        from colasearch.storage.files import write_atomic

        output.parent.mkdir(parents=True, exist_ok=True)
        write_atomic(output, json.dumps(result) + "\n")
    if as_json:
        click.echo(json.dumps(result))
        return
    _show(result)


def _on_text(
    path: Path,
    models: tuple[str, str],
    ways: list[str],
    device: str,
    dtype: str,
    limit: int | None,
    most: int,
    seed: int,
) -> dict[str, Any]:
    from colasearch.benchmarks.harness.forgetting import forgotten, hear
    from colasearch.cli.train.bar import Bar
    from colasearch.errors import InputError
    from colasearch.model.latent_lm import LatentLM
    from colasearch.training.data.corpus import load_corpus

    heard: dict[str, list[Any]] = {way: [] for way in ways}
    digests = []
    count = 0
    for name in models:  # one after the other: two need not fit in memory
        lm = LatentLM.from_pretrained(name, device, dtype, report=lambda line: click.echo(line, err=True))
        corpus = load_corpus([path], lm.base.tokenizer, lm.base.end_id, min(most, lm.base.context_length))
        documents = list(corpus.documents)[:limit]
        rows = [list(d.tokens) for d in documents]
        starts = [1 if d.spans else max(1, d.start) for d in documents]
        spans = [d.spans for d in documents]
        digests.append((corpus.sha256, len(documents)))
        for way in ways:
            with Bar(f"{name}, {way}") as bar:
                heard[way].append(hear(lm, rows, starts, "codes" if way == "codes" else "tokens", bar.update, spans))
                count = sum(heard[way][-1].tokens)
        del lm
    if digests[0] != digests[1]:
        raise InputError(
            f"{models[0]} and {models[1]} read {path} as different tokens, so their perplexities cannot be compared; "
            "give two states of one model"
        )
    rows_out = [{"on": way, **forgotten(heard[way][0], heard[way][1], seed)} for way in ways]
    return {"texts": digests[0][1], "tokens": count, "rows": rows_out}


def _show(result: dict[str, Any]) -> None:
    from rich.text import Text

    from colasearch.cli.bench_table import plain_table, wide_console
    from colasearch.printable import visible

    console = wide_console()
    console.print(
        Text(visible(f"{result['data']}: before = {result['before']}, after = {result['after']}")), soft_wrap=True
    )
    if "metrics" in result:
        table = plain_table("on", "metric", "before", "after", "after - before", "standard error")
        for row in result["metrics"]:
            wide = "" if row["stderr"] is None else f"{row['stderr']:.4f}"
            table.add_row(
                row["on"], Text(visible(row["metric"])), f"{row['before']:.4f}", f"{row['after']:.4f}",
                f"{row['difference']:+.4f}", wide,
            )  # fmt: skip
        console.print(table)
        return
    console.print(f"{result['texts']} texts, {result['tokens']} tokens\n")
    table = plain_table("on", "perplexity before", "after", "nats a token", "95% bootstrap", "texts worse %", "")
    for row in result["rows"]:
        low, high = row["ci95"]
        table.add_row(
            row["on"],
            f"{row['before']['perplexity']:.3f}",
            f"{row['after']['perplexity']:.3f}",
            f"{row['difference']:+.4f}",
            f"{low:+.4f} to {high:+.4f}",
            f"{100 * row['worse']:.0f}",
            "shown" if row["separate"] else "not shown",
        )
    console.print(table)
