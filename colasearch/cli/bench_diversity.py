"""``colasearch bench diversity``: how different continuations are under codes, the LM's sampling and random tokens."""

from __future__ import annotations

import json
from pathlib import Path

import click

from colasearch.cli.options import config_option, model_options, option

EPILOG = """\b
Examples:
  colasearch bench diversity
  colasearch bench diversity --data texts.jsonl --prefixes 32 --continuations 16 --encoder BAAI/bge-m3
"""


@click.command(epilog=EPILOG)
@model_options
@option("--encoder", default="all-MiniLM-L6-v2", help="Sentence encoder: this one, a folder or a hub name.")
@option("--data", type=click.Path(path_type=Path), help="Jsonl file whose texts are continued [default: built in].")
@option("--prefixes", type=click.IntRange(min=1), default=16, help="Prefixes to continue.")
@option("--prefix-tokens", type=click.IntRange(min=1), default=32, help="Tokens of each row of --data to keep.")
@option("--continuations", type=click.IntRange(min=2), default=8, help="Continuations of each prefix.")
@option("--max-tokens", type=click.IntRange(min=1), default=32, help="Tokens of each continuation.")
@option("--seed", type=int, default=0, help="Same seed, same texts.")
@config_option
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object.")
def diversity(
    model: str | None,
    device: str,
    dtype: str,
    threads: int | None,
    encoder: str,
    data: Path | None,
    prefixes: int,
    prefix_tokens: int,
    continuations: int,
    max_tokens: int,
    seed: int,
    as_json: bool,
) -> None:
    """Measure the semantic diversity of continuations, as CoLA does.

    1 / mean pairwise similarity, in a sentence encoder, of several continuations of each prefix: under random codes,
    under the policy's codes, by the base's own sampling, and of random tokens. The default here is smollm2-135m, which
    has codes.
    """
    import torch

    from colasearch.benchmarks.harness.diversity import compare
    from colasearch.benchmarks.harness.encoder import Encoder
    from colasearch.model.known import SMALL_MODEL
    from colasearch.model.latent_lm import LatentLM

    def say(text: str) -> None:
        click.echo(text, err=True)

    if threads:
        torch.set_num_threads(threads)
    model = model or SMALL_MODEL
    embed = Encoder(encoder)
    lm = LatentLM.from_pretrained(model, device, dtype, report=say)
    texts = _prefixes(lm, data, prefixes, prefix_tokens)
    rows = []
    for row in compare(lm, embed, texts, count=continuations, tokens=max_tokens, seed=seed, report=say):
        rows.append(row)
        say(f"{row.how}: diversity {row.value:.2f}")
    if as_json:
        record = {
            "schema": 1,
            "model": model,
            "encoder": encoder,
            "prefixes": len(texts),
            "continuations": continuations,
            "max_tokens": max_tokens,
            "seed": seed,
            "rows": [row.to_json() for row in rows],
        }
        click.echo(json.dumps(record))
        return
    click.echo(
        f"{len(texts)} prefixes, {continuations} continuations each of up to {max_tokens} tokens, {model}, {encoder}\n"
    )
    click.echo("| continued by | diversity | 95% interval | similarity | distinct texts | blank |")
    click.echo("|---|---:|---:|---:|---:|---:|")
    for row in rows:
        click.echo(
            f"| {row.how} | {row.value:.2f} | {row.low:.2f} to {row.high:.2f} | {row.similarity:.3f} | "
            f"{row.distinct:.0%} | {row.blank:.0%} |"
        )


def _prefixes(lm: object, data: Path | None, count: int, tokens: int) -> list[str]:
    """The texts to continue: our own, or the first tokens of each row of ``data``.

    Raises:
        InputError: There are not so many.
    """
    from colasearch.benchmarks.harness.diversity import PREFIXES
    from colasearch.errors import InputError
    from colasearch.model.ends import encode
    from colasearch.training.data.corpus import read_rows

    if data is None:
        found = list(PREFIXES)
    else:
        tokenizer = lm.base.tokenizer  # type: ignore[attr-defined]
        texts = [str(row.get("problem") or row.get("text")) for row in read_rows(data)]
        found = [str(tokenizer.decode(encode(tokenizer, text)[:tokens])) for text in texts]
    if len(found) < count:
        raise InputError(f"--prefixes is {count}, but there are {len(found)}; give fewer, or --data with more rows")
    return found[:count]
