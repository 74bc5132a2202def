"""``colasearch train rl``: improve the policy by reward; or the base's tokens, as control."""

from __future__ import annotations

import dataclasses
import json
import math
from typing import TYPE_CHECKING, Any, Literal

import click

from colasearch.cli.train.bar import Bar
from colasearch.cli.train.loading import load
from colasearch.cli.train.on_text import finish
from colasearch.cli.train.options import (
    COUNT,
    base_options,
    level_option,
    loop_options,
    policy_option,
    problem_options,
    tuning_options,
)
from colasearch.cli.train.settings import Problems, Run, Tuned

if TYPE_CHECKING:
    from colasearch.training.reinforcement.estimators import Algorithm
    from colasearch.training.reinforcement.rl import RLConfig

CRITIC_RATE = 10.0
"""PPO's critic starts from nothing, so it learns this many times faster than the policy."""


@dataclasses.dataclass(frozen=True, kw_only=True)
class RLSettings(Problems, Run, Tuned):
    """``colasearch train rl``: fields are named as the flags are, ``level`` is ``--on``."""

    model: str
    lr: float = 1e-4
    warmup_steps: int = 5
    save_every: int = 10
    evaluate_every: int = 50
    level: Literal["codes", "tokens"] = "codes"
    algorithm: Algorithm = "grpo"
    group: int = 4
    batch: int = 16
    epochs: int = 1
    rounds: int | None = None
    updates: int = 1
    beta: float = 1e-3
    clip: float = 0.2
    gae_lambda: float = 1.0
    keep_rollouts: bool = False
    micro_tokens: int | None = None
    merge_codes: int = 0
    entropy_floor: float = 0.0
    match_policy: bool = False

    def check(self) -> None:
        """Check what one flag alone does not show.

        Raises:
            UsageError: Codes are to be merged, or to keep their entropy, where there are none.
        """
        if self.merge_codes and self.level == "tokens":
            raise click.UsageError("--merge-codes is of --on codes; leave it out for the control on tokens")
        if self.entropy_floor and self.level == "tokens":
            raise click.UsageError("--entropy-floor is of --on codes; leave it out for the control on tokens")

    def learning(self) -> RLConfig:
        """What the algorithm is told."""
        from colasearch.training.reinforcement.rl import RLConfig

        return RLConfig(
            algorithm=self.algorithm,
            group=self.group,
            beta=self.beta,
            updates=self.updates,
            clip=self.clip,
            gae_lambda=self.gae_lambda,
            entropy_floor=self.entropy_floor,
            micro_tokens=self.micro_tokens or (8192 if self.level == "codes" else 1024),
        )

    def epochs_of(self, problems: int) -> int:
        """Passes over so many problems."""
        return self.epochs if self.rounds is None else math.ceil(self.rounds * self.batch / problems)


@click.command("rl")
@policy_option
@base_options
@problem_options
@loop_options(lr=1e-4, warmup_steps=5, save_every=10, evaluate_every=50)
@level_option("What is chosen by the policy that trains: latent codes, or tokens (the control).")
@click.option("--algorithm", type=click.Choice(["grpo", "rloo", "remax", "ppo"]), default="grpo", show_default=True)
@click.option("--group", type=COUNT, default=4, show_default=True, help="Rollouts a problem.")
@click.option("--batch", type=COUNT, default=16, show_default=True, help="Problems a round.")
@click.option("--epochs", type=COUNT, default=1, show_default=True, help="Passes over the problems.")
@click.option("--rounds", type=COUNT, default=None, help="So many rounds, in place of --epochs.")
@click.option("--updates", type=COUNT, default=1, show_default=True, help="Optimiser steps on each round's rollouts.")
@click.option("--beta", type=click.FloatRange(0), default=1e-3, show_default=True, help="Weight of the KL divergence.")
@click.option("--clip", type=click.FloatRange(0, 1), default=0.2, show_default=True, help="PPO's clip.")
@click.option("--gae-lambda", type=click.FloatRange(0, 1), default=1.0, show_default=True, help="For --algorithm ppo.")
@click.option("--keep-rollouts", is_flag=True, help="Write rollouts.jsonl, for `train value --rollouts`.")
@click.option("--micro-tokens", type=COUNT, default=None, help="Padded tokens in one pass [codes 8192, tokens 1024].")
@click.option(
    "--merge-codes",
    type=click.IntRange(min=0),
    default=0,
    show_default=True,
    help="Count so many of the codes likeliest at first as one action where they lead to the same token.",
)
@click.option(
    "--entropy-floor",
    type=click.FloatRange(min=0),
    default=0.0,
    show_default=True,
    help="Least mean entropy of the codes along a text, in nats, so that RL leaves a search something to choose.",
)
@tuning_options
@click.option("--match-policy", is_flag=True, help="--on tokens: the rank that trains as much as the policy has.")
def command(**given: Any) -> None:
    """Improve the policy by reward: GRPO, RLOO, ReMax or PPO over latent codes, or over tokens as control.

    On codes only the policy trains. On tokens the base trains: low-rank changes, chosen layers or all of it. With
    --data env:NAME a rollout is an episode of an environment, of which only the actions are chosen and learned.
    """
    run(RLSettings(**given))


def run(settings: RLSettings) -> None:
    """Train as ``settings`` say."""
    from colasearch.training.reinforcement.rl import RLLearner
    from colasearch.training.reinforcement.rl import rounds as plan_of
    from colasearch.training.reinforcement.rollout import RolloutLog
    from colasearch.training.running.loop import fit

    settings = settings.with_task()
    settings.check()
    algorithm = settings.learning()
    algorithm.check()
    loaded = load(settings.model, settings)
    # Weights packed in half precision would draw from another distribution than the one that is trained.
    loaded.base.packed = False
    settings = settings.with_limit(loaded)
    problems, train, held = settings.problems()
    roller = settings.roller(
        loaded,
        problems,
        settings.seed,
        latent=settings.level == "codes",
        group=settings.group,
        greedy_baseline=settings.algorithm == "remax",
    )
    log = RolloutLog(settings.output / "rollouts.jsonl")

    def collect(indices: Any, round_number: int) -> Any:
        episodes = roller.collect([train[i] for i in indices], round_number)
        if settings.keep_rollouts:
            log.append(round_number, roller.ids, episodes)
        return episodes

    agent, tunable = _agent(loaded, collect, settings)
    learner = RLLearner(agent, algorithm, width=loaded.base.hidden_size, seed=settings.seed)
    trained = sum(p.numel() for p in agent.parameters())
    config = {
        "model": settings.model,
        "on": settings.level,
        **settings.describe(),
        **roller.told,
        # As in runs from before there was a choice: here, and of codes that are merged.
        **{name: value for name, value in dataclasses.asdict(algorithm).items() if name != "entropy_floor" or value},
        "batch": settings.batch,
        "epochs": settings.epochs,
        "rounds": settings.rounds,
        **({"merge_codes": settings.merge_codes} if settings.merge_codes else {}),
        "trained_parameters": trained,
    }
    updates = settings.updates
    plan = plan_of(len(train), settings.batch, updates, settings.seed)
    epochs, rounds = settings.epochs_of(len(train)), settings.rounds
    schedule = [part for epoch in range(epochs) for part in plan(epoch)][: rounds and rounds * updates]
    # A checkpoint between two updates on the same rollouts could not be gone on with.
    loop = settings.loop(
        weight_decay=0.0,
        beta2=0.95,
        log_every=1,
        save_every=settings.save_every * updates,
        evaluate_every=settings.evaluate_every * updates,
    )
    opened = settings.start("rl", loaded, config, loop)
    before = roller.evaluate(held) if held else {}
    with Bar("rl") as bar:
        result = fit(
            opened,
            learner.holder,
            learner.parameters(),
            loop,
            plan=lambda epoch: schedule,
            epochs=1,
            accumulate=learner.accumulate,
            evaluate=lambda: roller.evaluate(held) if held else {},
            progress=bar.step,
            rate_factors=dict.fromkeys(learner.critic_parameters(), CRITIC_RATE),
            after_step=learner.after_step,
        )
    result = {**result, **{f"before_{key}": value for key, value in before.items() if key != "problems"}}
    if loaded.latents is None:
        _save_plain(loaded, tunable, settings, result, trained)
        return
    if tunable is not None:
        tunable.finish(settings.output / "tuned")
    finish("rl", loaded, settings, config, result, trained_parameters=trained)


def _agent(loaded: Any, collect: Any, settings: RLSettings) -> tuple[Any, Any]:
    """What is trained, and the tunable base where that is it."""
    from colasearch.engine.forward.actor import Actor
    from colasearch.engine.settings import Sampling
    from colasearch.training.base.tuning import TunableBase, lora_rank_for
    from colasearch.training.reinforcement.agents import LatentAgent, TokenAgent

    if loaded.latents is not None:
        loaded.latents.requires_grad_(False)
    merge_codes = settings.merge_codes
    if settings.level == "codes":
        policy = loaded.require_latents().policy
        tokens_under = Actor(loaded, Sampling()).tokens_under if merge_codes else None
        sampler = (settings.temperature, settings.top_k)
        return LatentAgent(policy, collect, *sampler, loaded.base, tokens_under, merge_codes), None
    rank = None
    if settings.match_policy:
        size = sum(p.numel() for p in loaded.require_latents().policy.parameters())
        rank = lora_rank_for(loaded.base, size)
    tunable = TunableBase(loaded, settings.tuning(rank), settings.seed)
    return TokenAgent(loaded.base, tunable, collect, settings.temperature, settings.top_k), tunable


def _save_plain(loaded: Any, tunable: Any, settings: RLSettings, result: dict[str, float], trained: int) -> None:
    """A base without latent modules is saved as a base."""
    from colasearch.training.base.from_scratch import save_base

    tunable.merge()
    target = settings.output / "model"
    save_base(loaded.base, target)
    report = {"schema": 1, "kind": "rl", "model": str(target), "heldout": result, "trained_parameters": trained}
    click.echo(json.dumps(report))
