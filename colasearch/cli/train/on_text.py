"""How a stage on hidden states of text runs, and how every run that trains a model's modules ends."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from typing import Any

import click

from colasearch.cli.train.bar import Bar
from colasearch.cli.train.loading import corpus_of, frozen_codes, split, states_of
from colasearch.cli.train.settings import Run, StageSettings


def finish(kind: str, lm: Any, how: Run, config: dict[str, Any], result: dict[str, float], **more: Any) -> None:
    """Save the trained model with its card beside the run, and print its held-out measures as one JSON object."""
    import json

    from colasearch.model.card import model_card

    modules = lm.require_latents()
    notes = {"config": {**config, "lr": how.lr, "seed": how.seed}, "heldout": result}
    modules.config = dataclasses.replace(modules.config, training={**modules.config.training, kind: notes})
    lm.save_pretrained(how.output / "model", model_card(modules.config))
    report = {"schema": 1, "kind": kind, "model": str(how.output / "model"), "heldout": result, **more}
    click.echo(json.dumps(report))


def train_on_text(
    kind: str,
    lm: Any,
    settings: StageSettings,
    config: dict[str, Any],
    make_learner: Callable[[Any, Any, Any], Any],
) -> None:
    """Run a stage on hidden states: the loop, the finished model, its held-out measures."""
    from colasearch.training.data.corpus import batches
    from colasearch.training.latent_actions.evaluate import evaluate
    from colasearch.training.running.loop import fit
    from colasearch.training.running.ranks import Ranks

    modules = lm.require_latents()
    loop = settings.loop()
    config = {**settings.describe(), "epochs": settings.epochs, "batch_tokens": settings.batch_tokens, **config}
    ranks = Ranks.current(settings.device)
    corpus = corpus_of(lm, settings)
    train, held = split(corpus, settings.heldout, measured=False)
    codes = frozen_codes(lm, settings, corpus)
    states = states_of(lm, corpus, settings.keep, ranks)
    run = settings.start(kind, lm, config, loop, ranks)
    modules.to(states.device)
    learner = make_learner(states, codes, ranks)
    with Bar(kind) as bar:
        result = fit(
            run,
            modules,
            learner.parameters(),
            loop,
            plan=lambda epoch: batches(states.documents, train, settings.batch_tokens, settings.seed, epoch),
            epochs=settings.epochs,
            accumulate=learner.accumulate,
            evaluate=lambda: (
                evaluate(modules, lm.base, states, held, settings.mixture_positions, given_codes=codes) if held else {}
            ),
            progress=bar.step,
            no_decay=[modules.codebook.weight],
            after_step=getattr(learner, "after_step", None),
            ranks=ranks,
        )
    if ranks.first:
        finish(kind, lm, settings, config, result)
