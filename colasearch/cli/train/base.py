"""``colasearch train base``: a small base model from scratch."""

from __future__ import annotations

import json
from typing import Any

import click

from colasearch.cli.train.common import (
    COUNT,
    Bar,
    Batches,
    Run,
    Source,
    Where,
    batch_options,
    data_options,
    loop_options,
    split,
    take,
)


@click.command("base")
@data_options()
@loop_options(lr=1e-3, warmup_steps=100)
@batch_options(epochs=4, micro_tokens=8192)
@click.option("--width", type=COUNT, default=192, show_default=True)
@click.option("--layers", type=COUNT, default=6, show_default=True)
@click.option("--heads", type=COUNT, default=6, show_default=True)
@click.option("--context", type=COUNT, default=256, show_default=True, help="Longest text, in tokens.")
@click.option("--bfloat16", "half", is_flag=True, help="Passes in bfloat16: faster on CPUs that compute in it.")
def command(width: int, layers: int, heads: int, context: int, half: bool, **common: Any) -> None:
    """Train a small Llama over characters from scratch, for experiments on one machine.

    Its folder is a base for `train actions`, `solve --actions sampled` and `train rl --on tokens`.
    """
    import torch

    from colasearch.model.base import pick_device
    from colasearch.storage.files import sha256_of
    from colasearch.training.base.from_scratch import BaseLearner, make_tokenizer, new_base, save_base
    from colasearch.training.data.corpus import batches, load_corpus, read_rows
    from colasearch.training.running.loop import fit, manifest

    source, where = take(Source, common), take(Where, common)
    how, batching = take(Run, common), take(Batches, common)
    if where.threads:
        torch.set_num_threads(where.threads)
    texts = (
        str(row.get(key, ""))
        for path in source.data
        for row in read_rows(path)
        for key in ("text", "problem", "solution")
    )
    shape = {"width": width, "layers": layers, "heads": heads, "context": context}
    base = new_base(make_tokenizer(texts), how.seed, **shape)
    base.model.to(pick_device(where.device))
    corpus = load_corpus(source.data, base.tokenizer, base.end_id, min(source.max_tokens, context))
    train, held = split(corpus, source.heldout)
    learner = BaseLearner(base, corpus.documents, batching.micro_tokens, half)
    parameters = sum(p.numel() for p in learner.parameters())
    config = {
        **source.describe(),
        **shape,
        "bfloat16": half,
        "epochs": batching.epochs,
        "batch_tokens": batching.batch_tokens,
        "parameters": parameters,
        "corpus": corpus.sha256,
    }
    loop = how.loop(beta2=0.95)
    run = how.open(manifest("base", config, loop))
    with Bar("base") as bar:
        result = fit(
            run,
            base.model,
            learner.parameters(),
            loop,
            plan=lambda epoch: batches(corpus.documents, train, batching.batch_tokens, how.seed, epoch),
            epochs=batching.epochs,
            accumulate=learner.accumulate,
            evaluate=lambda: learner.evaluate(held),
            progress=bar.step,
        )
    save_base(base, how.output / "model")
    report = {
        "schema": 1,
        "kind": "base",
        "model": str(how.output / "model"),
        "sha256": sha256_of(how.output / "model" / "model.safetensors"),
        "parameters": parameters,
        "heldout": result,
    }
    click.echo(json.dumps(report))
