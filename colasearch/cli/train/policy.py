"""``colasearch train policy``: the policy clones the IDM's codes, or learns what search found."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from colasearch.cli.train.common import (
    COUNT,
    Bar,
    Batches,
    PathType,
    Run,
    Source,
    Where,
    batch_options,
    data_options,
    finish,
    load,
    loop_options,
    mixture_option,
    states_of,
    states_option,
    take,
    train_on_text,
)


@click.command("policy")
@click.option("--model", required=True, help="Model folder that stage 1 wrote.")
@data_options(required=False)
@click.option("--traces", multiple=True, type=PathType, help="Run folder of searches, in place of --data.")
@click.option(
    "--targets",
    type=click.Choice(["completed", "visits"]),
    default="completed",
    show_default=True,
    help="With --traces: Gumbel's improved policy of completed Q-values, or shares of visits.",
)
@click.option(
    "--min-visits", type=COUNT, default=2, show_default=True, help="With --traces: nodes visited less do not count."
)
@click.option(
    "--beta",
    type=click.FloatRange(min=0),
    default=0.0,
    show_default=True,
    help="With --traces: weight of the KL divergence from the policy before, over all states of the texts.",
)
@loop_options(lr=1e-3)
@batch_options()
@states_option
@mixture_option
def command(
    model: str,
    traces: tuple[Path, ...],
    targets: Any,
    min_visits: int,
    beta: float,
    keep: str,
    mixture_positions: int,
    **common: Any,
) -> None:
    """Stage 2: the policy clones the inverse dynamics model's codes (--data); or learns from search (--traces).

    With --data, several processes (torchrun, accelerate launch) share each batch and walk the same curve.
    """
    from colasearch.training.latent_actions.cloning import PolicyCloner

    source, where = take(Source, common), take(Where, common)
    how, batching = take(Run, common), take(Batches, common)
    if bool(traces) == bool(source.data):
        raise click.UsageError("give either --data (texts, to clone the IDM's codes) or --traces (searches)")
    loaded = load(model, where, parallel=not traces)
    modules = loaded.require_latents()
    if traces:
        _from_search(loaded, model, traces, targets, min_visits, beta, source, how, batching)
        return
    train_on_text(
        "policy",
        loaded,
        source,
        where,
        how,
        batching,
        {"model": model, "micro_tokens": batching.micro_tokens},
        lambda states, codes, ranks: PolicyCloner(modules, states, batching.micro_tokens, codes, loaded.base, ranks),
        keep,
        mixture_positions,
    )


def _from_search(
    loaded: Any,
    model: str,
    paths: tuple[Path, ...],
    targets: Any,
    min_visits: int,
    beta: float,
    source: Source,
    how: Run,
    batching: Batches,
) -> None:
    from colasearch.storage.traces import Trace
    from colasearch.training.data.corpus import batches
    from colasearch.training.data.problems import is_heldout
    from colasearch.training.from_search.policy import SearchPolicyLearner
    from colasearch.training.from_search.targets import find_traces, search_data
    from colasearch.training.running.loop import fit

    modules = loaded.require_latents()
    data = search_data((Trace.read(file) for path in paths for file in find_traces(path)), targets)
    learner = SearchPolicyLearner(
        modules, states_of(loaded, data.corpus), data.nodes, min_visits, batching.micro_tokens, beta
    )
    held = [i for i, nodes in sorted(learner.by_document.items()) if is_heldout(nodes[0].problem, source.heldout)]
    train = [i for i in sorted(learner.by_document) if i not in set(held)]
    if not train:
        raise click.UsageError(
            f"the traces have {len(held)} paths, and at --heldout {source.heldout} none is left to train on; give more "
            "problems or another --heldout"
        )
    config = {
        "model": model,
        "traces": [p.name for p in paths],
        "targets": targets,
        "min_visits": min_visits,
        "beta": beta,
        "nodes": sum(len(nodes) for nodes in learner.by_document.values()),
        "heldout": source.heldout,
        "epochs": batching.epochs,
        "batch_tokens": batching.batch_tokens,
    }
    loop = how.loop()
    run = how.start("search-policy", loaded, config, loop)
    before = learner.evaluate(held) if held else {}
    with Bar("policy from search") as bar:
        result = fit(
            run,
            modules,
            learner.parameters(),
            loop,
            plan=lambda epoch: batches(data.corpus.documents, train, batching.batch_tokens, how.seed, epoch),
            epochs=batching.epochs,
            accumulate=learner.accumulate,
            evaluate=lambda: learner.evaluate(held) if held else {},
            progress=bar.step,
        )
    finish("search-policy", loaded, how, config, {**result, **({"before_kl": before["kl"]} if before else {})})
