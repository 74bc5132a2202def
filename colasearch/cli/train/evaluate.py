"""``colasearch train evaluate``: the held-out measures of a trained model."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import click

from colasearch.cli.train.loading import corpus_of, frozen_codes, load, states_of
from colasearch.cli.train.options import PathType, data_options, mixture_option
from colasearch.cli.train.settings import Source


@dataclass(frozen=True, kw_only=True)
class EvaluateSettings(Source):
    """``colasearch train evaluate``: fields are named as the flags are, ``as_json`` is ``--json``."""

    model: str = "smollm2-135m"
    limit: int | None = None
    samples: int = 0
    mixture_positions: int = 256
    output: Path | None = None
    as_json: bool = False


@click.command("evaluate")
@click.option("--model", default="smollm2-135m", show_default=True, help="Known name or model folder.")
@data_options()
@click.option("--limit", type=int, default=None, help="Use only the first LIMIT held-out texts.")
@click.option("--samples", default=0, show_default=True, help="Texts to sample for the perplexity of code-made text.")
@mixture_option
@click.option("--output", type=PathType, help="Also write the JSON object to this file.")
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object.")
def command(**given: Any) -> None:
    """Measure a trained model on held-out text."""
    run(EvaluateSettings(**given))


def run(settings: EvaluateSettings) -> None:
    """Measure as ``settings`` say."""
    import json

    from colasearch.storage.files import write_atomic
    from colasearch.training.data.corpus import Corpus, split_heldout
    from colasearch.training.latent_actions.evaluate import evaluate

    loaded = load(settings.model, settings)
    modules = loaded.require_latents()
    corpus = corpus_of(loaded, settings)
    _, held = split_heldout(corpus, settings.heldout)
    if not held:
        raise click.UsageError(f"none of {len(corpus.documents)} texts is held out at --heldout {settings.heldout}")
    name = f"{corpus.sha256} heldout {settings.heldout} {settings.limit}"
    chosen = Corpus([corpus.documents[i] for i in held[: settings.limit]], name)
    codes = frozen_codes(loaded, settings, chosen)
    indices = range(len(chosen.documents))
    states = states_of(loaded, chosen)
    result = evaluate(modules, loaded.base, states, indices, settings.mixture_positions, given_codes=codes)
    prompts = [d.tokens[: d.prompt] for d in chosen.documents if d.prompt][: settings.samples]
    if prompts:
        from colasearch.training.latent_actions.fluency import fluency

        result.update(fluency(loaded, prompts))
    report = json.dumps({"schema": 1, "kind": "evaluate", "model": settings.model, "heldout": result})
    if settings.output is not None:
        settings.output.parent.mkdir(parents=True, exist_ok=True)
        write_atomic(settings.output, report + "\n")
    if settings.as_json:
        click.echo(report)
        return
    for key, value in result.items():
        click.echo(f"{key:22} {value:.4f}")
