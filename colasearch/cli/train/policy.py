"""``colasearch train policy``: the policy clones the IDM's codes, or learns what search found."""

from __future__ import annotations

from dataclasses import asdict, dataclass, fields
from pathlib import Path
from typing import Any, Literal

import click

from colasearch.cli.train.bar import Bar
from colasearch.cli.train.loading import load, states_of
from colasearch.cli.train.on_text import finish, train_on_text
from colasearch.cli.train.options import (
    COUNT,
    PathType,
    batch_options,
    data_options,
    loop_options,
    mixture_option,
    states_option,
)
from colasearch.cli.train.settings import StageSettings


@dataclass(frozen=True, kw_only=True)
class PolicySettings(StageSettings):
    """``colasearch train policy``: fields are named as the flags are."""

    data: tuple[Path, ...] = ()
    traces: tuple[Path, ...] = ()
    targets: Literal["completed", "visits"] = "completed"
    min_visits: int = 2
    beta: float = 0.0
    target_temperature: float = 1.0
    prior_mix: float = 0.0
    entropy_floor: float = 0.0

    def check(self) -> None:
        """Check what one flag alone does not show.

        Raises:
            UsageError: There are not texts or traces, or there are both.
        """
        if bool(self.traces) == bool(self.data):
            raise click.UsageError("give either --data (texts, to clone the IDM's codes) or --traces (searches)")


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
@click.option(
    "--target-temperature",
    type=click.FloatRange(min=0, min_open=True),
    default=1.0,
    show_default=True,
    help="With --traces: above 1 the targets are less sharp.",
)
@click.option(
    "--prior-mix",
    type=click.FloatRange(min=0, max=1, max_open=True),
    default=0.0,
    show_default=True,
    help="With --traces: share of the policy before in the targets.",
)
@click.option(
    "--entropy-floor",
    type=click.FloatRange(min=0),
    default=0.0,
    show_default=True,
    help="With --traces: least mean entropy of the codes along a text, in nats.",
)
@loop_options(lr=1e-3)
@batch_options()
@states_option
@mixture_option
def command(**given: Any) -> None:
    """Stage 2: the policy clones the inverse dynamics model's codes (--data); or learns from search (--traces).

    With --data, several processes (torchrun, accelerate launch) share each batch and walk the same curve.
    """
    run(PolicySettings(**given))


def run(settings: PolicySettings) -> None:
    """Train as ``settings`` say."""
    from colasearch.training.latent_actions.cloning import PolicyCloner

    settings.check()
    loaded = load(settings.model, settings, parallel=not settings.traces)
    modules = loaded.require_latents()
    if settings.traces:
        _from_search(loaded, settings)
        return
    modules.idm.require()
    micro_tokens = settings.micro_tokens
    train_on_text(
        "policy",
        loaded,
        settings,
        {"model": settings.model, "micro_tokens": micro_tokens},
        lambda states, codes, ranks: PolicyCloner(modules, states, micro_tokens, codes, loaded.base, ranks),
    )


def _from_search(loaded: Any, settings: PolicySettings) -> None:
    from colasearch.storage.traces import Trace
    from colasearch.training.data.corpus import batches
    from colasearch.training.data.problems import is_heldout
    from colasearch.training.from_search.policy import SearchPolicyConfig, SearchPolicyLearner
    from colasearch.training.from_search.targets import find_traces, search_data
    from colasearch.training.running.loop import fit

    modules = loaded.require_latents()
    files = (file for path in settings.traces for file in find_traces(path))
    data = search_data((Trace.read(file) for file in files), settings.targets)
    states = states_of(loaded, data.corpus)
    how = SearchPolicyConfig(**{field.name: getattr(settings, field.name) for field in fields(SearchPolicyConfig)})
    learner = SearchPolicyLearner(modules, states, data.nodes, how, settings.micro_tokens)
    held = [i for i, nodes in sorted(learner.by_document.items()) if is_heldout(nodes[0].problem, settings.heldout)]
    train = [i for i in sorted(learner.by_document) if i not in set(held)]
    if not train:
        raise click.UsageError(
            f"the traces have {len(held)} paths, and at --heldout {settings.heldout} none is left to train on; give "
            "more problems or another --heldout"
        )
    config = {
        "model": settings.model,
        "traces": [p.name for p in settings.traces],
        "targets": settings.targets,
        "min_visits": how.min_visits,
        "beta": how.beta,
        # As in runs from before there was a choice.
        **{name: value for name, value in asdict(how).items() if value != getattr(SearchPolicyConfig(), name)},
        "nodes": sum(len(nodes) for nodes in learner.by_document.values()),
        "heldout": settings.heldout,
        "epochs": settings.epochs,
        "batch_tokens": settings.batch_tokens,
    }
    loop = settings.loop()
    opened = settings.start("search-policy", loaded, config, loop)
    before = learner.evaluate(held) if held else {}
    with Bar("policy from search") as bar:
        result = fit(
            opened,
            modules,
            learner.parameters(),
            loop,
            plan=lambda epoch: batches(data.corpus.documents, train, settings.batch_tokens, settings.seed, epoch),
            epochs=settings.epochs,
            accumulate=learner.accumulate,
            evaluate=lambda: learner.evaluate(held) if held else {},
            progress=bar.step,
        )
    result = {**result, **({"before_kl": before["kl"]} if before else {})}
    finish("search-policy", loaded, settings, config, result)
