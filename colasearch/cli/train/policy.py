"""``colasearch train policy``: stage 2, from text."""

from __future__ import annotations

from typing import Any

import click

from colasearch.cli.train.common import (
    Batches,
    Run,
    Source,
    Where,
    batch_options,
    data_options,
    load,
    loop_options,
    take,
    train_on_text,
)


@click.command("policy")
@click.option("--model", required=True, help="Model folder that stage 1 wrote.")
@data_options
@loop_options(lr=1e-3)
@batch_options()
def command(model: str, **common: Any) -> None:
    """Stage 2: the policy clones the inverse dynamics model's codes."""
    from colasearch.training.cloning import PolicyCloner

    source, where = take(Source, common), take(Where, common)
    how, batching = take(Run, common), take(Batches, common)
    loaded = load(model, where)
    modules = loaded.require_latents().float()
    config = {"model": model, "micro_tokens": batching.micro_tokens}
    train_on_text(
        "policy",
        loaded,
        source,
        how,
        batching,
        config,
        lambda states: PolicyCloner(modules, states, batching.micro_tokens),
    )
