"""``colasearch train rollouts``: sample texts of labelled problems and log them with codes and rewards."""

from __future__ import annotations

import json
from collections import Counter
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Literal, Self

import click

from colasearch.cli.train.bar import Bar
from colasearch.cli.train.environments import starts_of
from colasearch.cli.train.loading import load
from colasearch.cli.train.options import COUNT, PathType, base_options, level_option, policy_option, problem_options
from colasearch.cli.train.settings import Problems

FEW_TOKENS = 50
"""Of a text, for how many are begun together towards --most-tokens."""


@dataclass(frozen=True, kw_only=True)
class RolloutsSettings(Problems):
    """``colasearch train rollouts``: fields are named as the flags are, ``level`` is ``--on``."""

    model: str
    output: Path
    samples: int = 16
    level: Literal["codes", "tokens"] = "codes"
    most_tokens: int | None = None
    skip_long: bool = False
    limit: int | None = None
    skip: int = 0
    shuffle_seed: int | None = None
    seed: int = 0

    def of_train_split(self) -> Self:
        """Of an environment only the train split is played.

        Raises:
            UsageError: A flag does not go with an environment, or with problems.
        """
        if self.environment is None:
            if self.limit is not None or self.skip or self.shuffle_seed is not None:
                raise click.UsageError(
                    "--limit, --skip and --shuffle-seed choose episodes of an environment (--data env:NAME); leave "
                    "them out here"
                )
            return self
        if self.skip_long:
            raise click.UsageError("--skip-long is for problems; leave it out for an environment")
        return replace(self, heldout=0.0)

    def problems(self) -> tuple[Any, list[int], list[int]]:
        """The problems, or the episodes that are chosen."""
        if self.environment is None:
            return super().problems()
        return starts_of(self, self.environment, limit=self.limit, skip=self.skip, shuffle_seed=self.shuffle_seed)

    def together(self) -> int:
        """Problems begun together."""
        # Enough texts that the batch is seldom short of rows, few enough that little is lost with an interruption.
        if self.most_tokens is None:
            return max(1, 8 * self.rows // self.samples)
        # ... nor much more than is asked for.
        return min(max(1, self.rows // self.samples), 1 + self.most_tokens // (self.samples * FEW_TOKENS))


@click.command("rollouts")
@policy_option
@base_options
@problem_options
@click.option("--samples", type=COUNT, default=16, show_default=True, help="Rollouts a problem.")
@level_option("What is drawn: latent codes, or the base's own tokens (texts to learn codes on).")
@click.option("--most-tokens", type=COUNT, default=None, help="Stop once so many tokens of text are logged.")
@click.option("--skip-long", is_flag=True, help="Leave out problems whose prompts leave no room for a text.")
@click.option("--limit", type=COUNT, default=None, help="Of an environment only so many variations.")
@click.option(
    "--skip",
    type=click.IntRange(min=0),
    default=0,
    show_default=True,
    help="Of an environment leave out so many variations before the first.",
)
@click.option(
    "--shuffle-seed",
    type=int,
    default=None,
    help="Of an environment take the variations in an order drawn from this seed, as in `bench env:`.",
)
@click.option("--seed", default=0, show_default=True)
@click.option("--output", required=True, type=PathType, help="jsonl file; problems that it holds are skipped.")
def command(**given: Any) -> None:
    """Sample texts over latent codes (or tokens) and log them, for `train value --rollouts` and `train actions --data`.

    With --data env:NAME they are episodes of the environment's train variations, in order; --limit and --most-tokens
    say when to stop. Started again with the same options it goes on where it was stopped.
    """
    run(RolloutsSettings(**given))


def run(settings: RolloutsSettings) -> None:
    """Sample as ``settings`` say."""
    from colasearch.training.reinforcement.rollout import RolloutLog, read_rollouts, that_fit

    settings = settings.with_task().of_train_split()
    loaded = load(settings.model, settings, to_train=False)
    settings = settings.with_limit(loaded)
    problems, _, _ = settings.problems()
    if settings.skip_long:
        assert settings.max_new_tokens is not None
        problems = that_fit(loaded.base, problems, settings.max_new_tokens)
    latent = settings.level == "codes"
    if latent:
        loaded.require_latents()
    samples, output, most_tokens = settings.samples, settings.output, settings.most_tokens
    roller = settings.roller(loaded, problems, settings.seed, group=samples, states=False, latent=latent)
    output.parent.mkdir(parents=True, exist_ok=True)
    known = read_rollouts(output) if output.exists() else []
    done = Counter(problem for problem, _ in known)
    together = settings.together()
    first = next((n for n, name in enumerate(roller.ids) if done[name] < samples), len(problems))
    first -= first % together  # the same groups as undisturbed, so that --most-tokens stops after the same one
    log = RolloutLog(output)
    whole = set(roller.ids[:first])
    kept = [episode for problem, episode in known if problem in whole]
    tokens = sum(len(episode.actions) for episode in kept)
    total, reward = len(kept), sum(episode.reward for episode in kept)
    # One round a problem: a problem that was interrupted is done again as a whole.
    with Bar("rollouts") as bar:
        for begin in range(first, len(problems), together):
            if most_tokens is not None and tokens >= most_tokens:
                break
            episodes = roller.collect(range(begin, min(begin + together, len(problems))), 0)
            for at in range(0, len(episodes), samples):
                log.append(episodes[at].problem, roller.ids, episodes[at : at + samples])
            total, reward = total + len(episodes), reward + sum(e.reward for e in episodes)
            tokens += sum(len(e.actions) for e in episodes)
            if most_tokens is None:
                bar.update(min(begin + together, len(problems)), len(problems))
            else:
                bar.update(min(tokens, most_tokens), most_tokens)
    report = {"rollouts": total, "mean_reward": reward / max(1, total), "tokens": tokens}
    click.echo(json.dumps({"schema": 1, "kind": "rollouts", **report}))
