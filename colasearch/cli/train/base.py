"""``colasearch train base``: a small base model from scratch."""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import Any

import click

from colasearch.cli.train.bar import Bar
from colasearch.cli.train.loading import split
from colasearch.cli.train.options import COUNT, batch_options, data_options, loop_options
from colasearch.cli.train.settings import TextRun


@dataclass(frozen=True, kw_only=True)
class BaseSettings(TextRun):
    """``colasearch train base``: fields are named as the flags are, ``half`` is ``--bfloat16``."""

    warmup_steps: int = 100
    epochs: int = 4
    micro_tokens: int = 8192
    width: int = 192
    layers: int = 6
    heads: int = 6
    context: int = 256
    words: int = 0
    half: bool = False

    def shape(self) -> dict[str, int]:
        """Of the base."""
        return {"width": self.width, "layers": self.layers, "heads": self.heads, "context": self.context}


@click.command("base")
@data_options()
@loop_options(lr=1e-3, warmup_steps=100)
@batch_options(epochs=4, micro_tokens=8192)
@click.option("--width", type=COUNT, default=192, show_default=True)
@click.option("--layers", type=COUNT, default=6, show_default=True)
@click.option("--heads", type=COUNT, default=6, show_default=True)
@click.option("--context", type=COUNT, default=256, show_default=True, help="Longest text, in tokens.")
@click.option(
    "--words",
    type=click.IntRange(min=0),
    default=0,
    show_default=True,
    help="So many of the most frequent words become tokens; all else is characters.",
)
@click.option("--bfloat16", "half", is_flag=True, help="Passes in bfloat16: faster on CPUs that compute in it.")
def command(**given: Any) -> None:
    """Train a small Llama over characters from scratch, for experiments on one machine.

    Its folder is a base for `train actions`, `solve --actions sampled` and `train rl --on tokens`.
    """
    run(BaseSettings(**given))


def _texts(row: dict[str, Any]) -> list[str]:
    """All that a row says."""
    turns = [str(turn[key]) for turn in row.get("turns", []) for key in ("action", "observation")]
    # An action stands behind a blank.
    turns += [f" {turn['action']}" for turn in row.get("turns", [])]
    return [*(str(row.get(key, "")) for key in ("text", "problem", "solution", "instruction", "observation")), *turns]


def run(settings: BaseSettings) -> None:
    """Train as ``settings`` say."""
    import torch

    from colasearch.model.base import pick_device
    from colasearch.storage.files import sha256_of
    from colasearch.training.base.from_scratch import BaseLearner, frequent_words, make_tokenizer, new_base, save_base
    from colasearch.training.data.corpus import batches, load_corpus, read_rows
    from colasearch.training.running.loop import fit, manifest

    if settings.threads:
        torch.set_num_threads(settings.threads)
    texts = [text for path in settings.data for row in read_rows(path) for text in _texts(row)]
    words = frequent_words(texts, settings.words)
    base = new_base(make_tokenizer(texts, words), settings.seed, **settings.shape())
    base.model.to(pick_device(settings.device))
    most = min(settings.max_tokens, settings.context)
    corpus = load_corpus(settings.data, base.tokenizer, base.end_id, most)
    train, held = split(corpus, settings.heldout)
    learner = BaseLearner(base, corpus.documents, settings.micro_tokens, settings.half)
    parameters = sum(p.numel() for p in learner.parameters())
    config = {
        **settings.describe(),
        **settings.shape(),
        **({"words": settings.words} if settings.words else {}),  # as in runs from before there was a choice
        "bfloat16": settings.half,
        "epochs": settings.epochs,
        "batch_tokens": settings.batch_tokens,
        "parameters": parameters,
        "corpus": corpus.sha256,
    }
    loop = settings.loop(beta2=0.95)
    opened = settings.open(manifest("base", config, loop))
    with Bar("base") as bar:
        result = fit(
            opened,
            base.model,
            learner.parameters(),
            loop,
            plan=lambda epoch: batches(corpus.documents, train, settings.batch_tokens, settings.seed, epoch),
            epochs=settings.epochs,
            accumulate=learner.accumulate,
            evaluate=lambda: learner.evaluate(held),
            progress=bar.step,
        )
    target = settings.output / "model"
    save_base(base, target)
    report = {
        "schema": 1,
        "kind": "base",
        "model": str(target),
        "sha256": sha256_of(target / "model.safetensors"),
        "parameters": parameters,
        "heldout": result,
    }
    click.echo(json.dumps(report))
