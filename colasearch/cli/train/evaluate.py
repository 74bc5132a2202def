"""``colasearch train evaluate``: the held-out measures of a trained model."""

from __future__ import annotations

from typing import Any

import click

from colasearch.cli.train.common import (
    PathType,
    Source,
    Where,
    corpus_of,
    data_options,
    frozen_codes,
    load,
    mixture_option,
    states_of,
    take,
)


@click.command("evaluate")
@click.option("--model", default="smollm2-135m", show_default=True, help="Known name or model folder.")
@data_options()
@click.option("--limit", type=int, default=None, help="Use only the first LIMIT held-out texts.")
@click.option("--samples", default=0, show_default=True, help="Texts to sample for the perplexity of code-made text.")
@mixture_option
@click.option("--output", type=PathType, help="Also write the JSON object to this file.")
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object.")
def command(
    model: str, limit: int | None, samples: int, mixture_positions: int, output: Any, as_json: bool, **common: Any
) -> None:
    """Measure a trained model on held-out text."""
    import json

    from colasearch.storage.files import write_atomic
    from colasearch.training.data.corpus import Corpus, split_heldout
    from colasearch.training.latent_actions.evaluate import evaluate

    source, where = take(Source, common), take(Where, common)
    loaded = load(model, where)
    modules = loaded.require_latents()
    corpus = corpus_of(loaded, source)
    _, held = split_heldout(corpus, source.heldout)
    if not held:
        raise click.UsageError(f"none of {len(corpus.documents)} texts is held out at --heldout {source.heldout}")
    chosen = Corpus([corpus.documents[i] for i in held[:limit]], f"{corpus.sha256} heldout {source.heldout} {limit}")
    codes = frozen_codes(loaded, where, chosen)
    indices = range(len(chosen.documents))
    states = states_of(loaded, chosen)
    result = evaluate(modules, loaded.base, states, indices, mixture_positions, given_codes=codes)
    prompts = [d.tokens[: d.prompt] for d in chosen.documents if d.prompt][:samples]
    if prompts:
        from colasearch.training.latent_actions.fluency import fluency

        result.update(fluency(loaded, prompts))
    report = json.dumps({"schema": 1, "kind": "evaluate", "model": model, "heldout": result})
    if output is not None:
        output.parent.mkdir(parents=True, exist_ok=True)
        write_atomic(output, report + "\n")
    if as_json:
        click.echo(report)
        return
    for key, value in result.items():
        click.echo(f"{key:22} {value:.4f}")
