"""``colasearch train rl``: improve the policy by reward; or the base's tokens, as control."""

from __future__ import annotations

import dataclasses
import json
import math
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from colasearch.cli.tasks import task_options
from colasearch.cli.train.common import (
    COUNT,
    Bar,
    PathType,
    Run,
    Where,
    base_options,
    finish,
    load,
    loop_options,
    take,
    together,
)
from colasearch.cli.train.guide import tuning_options

if TYPE_CHECKING:
    from colasearch.training.rl import RLConfig

CRITIC_RATE = 10.0
"""PPO's critic starts from nothing, so it learns this many times faster than the policy."""

problem_options = together(
    click.option(
        "--data", multiple=True, required=True, type=PathType, help="jsonl, JSON array or CSV: problem and answer."
    ),
    task_options,
    click.option(
        "--heldout",
        type=click.FloatRange(0, 1, max_open=True),
        default=0.1,
        show_default=True,
        help="Share of problems never trained on.",
    ),
    click.option(
        "--max-new-tokens", type=COUNT, default=None, help="Longest rollout [default: by model and task, as in solve]."
    ),
    click.option("--temperature", type=click.FloatRange(0, min_open=True), default=1.0, show_default=True),
    click.option("--top-k", type=click.IntRange(min=0), default=0, show_default=True, help="0: no truncation."),
    click.option(
        "--reward",
        multiple=True,
        metavar="SPEC",
        help="Reward in place of the task's verifier, such as FILE.py:FUNCTION, http://..., rm:NAME (docs/rewards.md); "
        "several are averaged by their weights (SPEC*WEIGHT), each is logged.",
    ),
    click.option("--format-weight", default=0.0, show_default=True, help="Part of the reward that is for form."),
    click.option("--rows", type=COUNT, default=64, show_default=True, help="Most rollouts decoded in one batch."),
)


@dataclasses.dataclass(frozen=True, slots=True)
class Problems:
    """What ``problem_options`` gives."""

    data: tuple[Path, ...]
    task: str | None
    heldout: float
    max_new_tokens: int | None
    temperature: float
    top_k: int
    format_weight: float
    rows: int
    reward: tuple[str, ...] = ()
    prompt: str | None = None
    columns: Mapping[str, str] | None = None

    def __post_init__(self) -> None:
        from colasearch.rows import read_rows
        from colasearch.tasks import settled, task_of

        # Part of what a run's results depend on, so it is decided before anything else is done.
        task = self.task or task_of([row for path in self.data for row in read_rows(path, self.columns)])
        object.__setattr__(self, "task", settled(task, prompt=self.prompt, columns=self.columns))

    def load(self) -> tuple[Any, list[int], list[int]]:
        """The problems, and the indices of those to train on and of those held out."""
        from colasearch.training.problems import load_problems, split_problems

        problems = load_problems(self.data, self.task, gold=not self.reward)
        train, held = split_problems(problems, self.heldout)
        if not train:
            raise click.UsageError(
                f"{len(problems)} problems leave none to train on at --heldout {self.heldout}; give more"
            )
        click.echo(f"{len(train)} problems to train on, {len(held)} held out", err=True)
        return problems, train, held

    def settled(self, lm: Any) -> Problems:
        """With the limit of ``lm`` on a rollout's length, where the user gave none."""
        from colasearch.defaults import text_limit

        assert self.task is not None
        return dataclasses.replace(self, max_new_tokens=self.max_new_tokens or text_limit(lm.base, [self.task]))

    def roller(self, lm: Any, problems: Any, seed: int, **changes: Any) -> Any:
        """What rolls them out."""
        from colasearch.tasks import get_task
        from colasearch.training.problems import Reward
        from colasearch.training.rewards import SpecReward
        from colasearch.training.rollout import Roller, RolloutConfig

        task = problems[0].problem.task
        assert self.max_new_tokens is not None
        config = RolloutConfig(
            max_tokens=self.max_new_tokens,
            temperature=self.temperature,
            top_k=self.top_k,
            rows=self.rows,
            seed=seed,
            **changes,
        )
        form = get_task(task).form
        reward = SpecReward(self.reward, self.format_weight, form) if self.reward else Reward(task, self.format_weight)
        return Roller(lm, problems, reward, config, form=Reward(task, 1.0))

    def describe(self) -> dict[str, Any]:
        """The part that a run's results depend on."""
        from colasearch.rewards import hashes_of
        from colasearch.tasks import hashes_of as task_hashes

        told = {**dataclasses.asdict(self), "data": [p.name for p in self.data], "rewards": hashes_of(self.reward)}
        del told["prompt"], told["columns"]  # the task names them
        assert self.task is not None
        if files := task_hashes([self.task]):
            told["tasks"] = files
        # Runs from before there was a choice have no such keys.
        return {key: value for key, value in told.items() if self.reward or key not in ("reward", "rewards")}


@dataclasses.dataclass(frozen=True, slots=True)
class RLSettings:
    """``colasearch train rl``: fields are named as the flags are, ``level`` is ``--on``."""

    model: str
    level: str
    algorithm: Any
    group: int
    batch: int
    epochs: int
    rounds: int | None
    updates: int
    beta: float
    clip: float
    gae_lambda: float
    keep_rollouts: bool
    micro_tokens: int | None
    merge_codes: int
    tune: Any
    layers: tuple[int, ...]
    rank: int
    match_policy: bool
    where: Where
    problems: Problems
    run: Run

    @classmethod
    def of(cls, options: dict[str, Any]) -> RLSettings:
        """Settings of the command's options by name."""
        parts = {"where": take(Where, options), "problems": take(Problems, options), "run": take(Run, options)}
        return cls(**options, **parts)

    def check(self) -> None:
        """Check what one flag alone does not show.

        Raises:
            UsageError: Codes are to be merged where there are none.
        """
        if self.merge_codes and self.level == "tokens":
            raise click.UsageError("--merge-codes is of --on codes; leave it out for the control on tokens")

    def learning(self) -> RLConfig:
        """What the algorithm is told."""
        from colasearch.training.rl import RLConfig

        return RLConfig(
            algorithm=self.algorithm,
            group=self.group,
            beta=self.beta,
            updates=self.updates,
            clip=self.clip,
            gae_lambda=self.gae_lambda,
            micro_tokens=self.micro_tokens or (8192 if self.level == "codes" else 1024),
        )

    def epochs_of(self, problems: int) -> int:
        """Passes over so many problems."""
        return self.epochs if self.rounds is None else math.ceil(self.rounds * self.batch / problems)


@click.command("rl")
@click.option("--model", required=True, help="Model folder with a trained policy (or any base, with --on tokens).")
@base_options
@problem_options
@loop_options(lr=1e-4, warmup_steps=5, save_every=10, evaluate_every=50)
@click.option(
    "--on",
    "level",
    type=click.Choice(["codes", "tokens"]),
    default="codes",
    show_default=True,
    help="What is chosen by the policy that trains: latent codes, or tokens (the control).",
)
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
@tuning_options
@click.option("--match-policy", is_flag=True, help="--on tokens: the rank that trains as much as the policy has.")
def command(**options: Any) -> None:
    """Improve the policy by reward: GRPO, RLOO, ReMax or PPO over latent codes, or over tokens as control.

    On codes only the policy trains. On tokens the base trains: low-rank changes, chosen layers or all of it.
    """
    run_rl(RLSettings.of(options))


def run_rl(settings: RLSettings) -> None:
    """Train as ``settings`` say."""
    from colasearch.training.loop import fit
    from colasearch.training.rl import RLLearner
    from colasearch.training.rl import rounds as plan_of
    from colasearch.training.rollout import RolloutLog

    settings.check()
    where, given, how = settings.where, settings.problems, settings.run
    algorithm = settings.learning()
    algorithm.check()
    loaded = load(settings.model, where)
    # Weights packed in half precision would draw from another distribution than the one that is trained.
    loaded.base.packed = False
    given = given.settled(loaded)
    problems, train, held = given.load()
    roller = given.roller(
        loaded,
        problems,
        how.seed,
        latent=settings.level == "codes",
        group=settings.group,
        greedy_baseline=settings.algorithm == "remax",
    )
    log = RolloutLog(how.output / "rollouts.jsonl")

    def collect(indices: Any, round_number: int) -> Any:
        episodes = roller.collect([train[i] for i in indices], round_number)
        if settings.keep_rollouts:
            log.append(round_number, problems, episodes)
        return episodes

    agent, tunable = _agent(loaded, collect, settings)
    learner = RLLearner(agent, algorithm, width=loaded.base.hidden_size, seed=how.seed)
    trained = sum(p.numel() for p in agent.parameters())
    config = {
        "model": settings.model,
        "on": settings.level,
        **given.describe(),
        **dataclasses.asdict(algorithm),
        "batch": settings.batch,
        "epochs": settings.epochs,
        "rounds": settings.rounds,
        # As in runs from before there was a choice.
        **({"merge_codes": settings.merge_codes} if settings.merge_codes else {}),
        "trained_parameters": trained,
    }
    updates = settings.updates
    plan = plan_of(len(train), settings.batch, updates, how.seed)
    epochs, rounds = settings.epochs_of(len(train)), settings.rounds
    schedule = [part for epoch in range(epochs) for part in plan(epoch)][: rounds and rounds * updates]
    # A checkpoint between two updates on the same rollouts could not be gone on with.
    loop = how.loop(
        weight_decay=0.0,
        beta2=0.95,
        log_every=1,
        save_every=how.save_every * updates,
        evaluate_every=how.evaluate_every * updates,
    )
    run = how.start("rl", loaded, config, loop)
    before = roller.evaluate(held) if held else {}
    with Bar("rl") as bar:
        result = fit(
            run,
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
        _save_plain(loaded, tunable, how, result, trained)
        return
    if tunable is not None:
        tunable.finish(how.output / "tuned")
    finish("rl", loaded, how, config, result, trained_parameters=trained)


def _agent(
    loaded: Any,
    collect: Any,
    settings: RLSettings,
) -> tuple[Any, Any]:
    """What is trained, and the tunable base where that is it."""
    from colasearch.engine.forward.actor import Actor
    from colasearch.engine.settings import Sampling
    from colasearch.training.agents import LatentAgent, TokenAgent
    from colasearch.training.tuning import TunableBase, Tuning, lora_rank_for

    if loaded.latents is not None:
        loaded.latents.requires_grad_(False)
    given, merge_codes = settings.problems, settings.merge_codes
    if settings.level == "codes":
        policy = loaded.require_latents().policy
        tokens_under = Actor(loaded, Sampling()).tokens_under if merge_codes else None
        sampler = (given.temperature, given.top_k)
        return LatentAgent(policy, collect, *sampler, loaded.base, tokens_under, merge_codes), None
    rank = settings.rank
    if settings.match_policy:
        size = sum(p.numel() for p in loaded.require_latents().policy.parameters())
        rank = lora_rank_for(loaded.base, size)
    tunable = TunableBase(loaded, Tuning(settings.tune, settings.layers, rank, 2.0 * rank), settings.run.seed)
    return TokenAgent(loaded.base, tunable, collect, given.temperature, given.top_k), tunable


def _save_plain(loaded: Any, tunable: Any, how: Run, result: dict[str, float], trained: int) -> None:
    """A base without latent modules is saved as a base."""
    from colasearch.training.base_lm import save_base

    tunable.merge()
    target = how.output / "model"
    save_base(loaded.base, target)
    report = {"schema": 1, "kind": "rl", "model": str(target), "heldout": result, "trained_parameters": trained}
    click.echo(json.dumps(report))
