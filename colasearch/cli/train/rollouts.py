"""``colasearch train rollouts``: sample texts of labelled problems and log them with codes and rewards."""

from __future__ import annotations

import json
from collections import Counter
from typing import Any

import click

from colasearch.cli.train.common import COUNT, Bar, PathType, Where, base_options, load, take
from colasearch.cli.train.rl import Problems, problem_options

FEW_TOKENS = 50
"""Of a text, for how many are begun together towards --most-tokens."""


@click.command("rollouts")
@click.option("--model", required=True, help="Model folder with a trained policy (or any base, with --on tokens).")
@base_options
@problem_options
@click.option("--samples", type=COUNT, default=16, show_default=True, help="Rollouts a problem.")
@click.option(
    "--on",
    "level",
    type=click.Choice(["codes", "tokens"]),
    default="codes",
    show_default=True,
    help="What is drawn: latent codes, or the base's own tokens (texts to learn codes on).",
)
@click.option("--most-tokens", type=COUNT, default=None, help="Stop once so many tokens of text are logged.")
@click.option("--skip-long", is_flag=True, help="Leave out problems whose prompts leave no room for a text.")
@click.option("--seed", default=0, show_default=True)
@click.option("--output", required=True, type=PathType, help="jsonl file; problems that it holds are skipped.")
def command(
    model: str,
    samples: int,
    level: str,
    most_tokens: int | None,
    skip_long: bool,
    seed: int,
    output: Any,
    **common: Any,
) -> None:
    """Sample texts over latent codes (or tokens) and log them, for `train value --rollouts` and `train actions --data`.

    Started again with the same options it goes on where it was stopped.
    """
    from colasearch.training.reinforcement.rollout import RolloutLog, read_rollouts, that_fit

    where, given = take(Where, common), take(Problems, common)
    loaded = load(model, where, to_train=False)
    given = given.settled(loaded)
    problems, _, _ = given.load()
    if skip_long:
        problems = that_fit(loaded.base, problems, given.max_new_tokens)
    latent = level == "codes"
    if latent:
        loaded.require_latents()
    roller = given.roller(loaded, problems, seed, group=samples, states=False, latent=latent)
    output.parent.mkdir(parents=True, exist_ok=True)
    known = read_rollouts(output) if output.exists() else []
    done = Counter(problem for problem, _ in known)
    # Enough texts that the batch is seldom short of rows, few enough that little is lost with an interruption.
    together = max(1, 8 * given.rows // samples)
    if most_tokens is not None:  # nor much more than is asked for
        together = min(max(1, given.rows // samples), 1 + most_tokens // (samples * FEW_TOKENS))
    first = next((n for n, labelled in enumerate(problems) if done[labelled.problem.id] < samples), len(problems))
    first -= first % together  # the same groups as undisturbed, so that --most-tokens stops after the same one
    log = RolloutLog(output)
    whole = {labelled.problem.id for labelled in problems[:first]}
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
                log.append(episodes[at].problem, problems, episodes[at : at + samples])
            total, reward = total + len(episodes), reward + sum(e.reward for e in episodes)
            tokens += sum(len(e.actions) for e in episodes)
            if most_tokens is None:
                bar.update(min(begin + together, len(problems)), len(problems))
            else:
                bar.update(min(tokens, most_tokens), most_tokens)
    report = {"rollouts": total, "mean_reward": reward / max(1, total), "tokens": tokens}
    click.echo(json.dumps({"schema": 1, "kind": "rollouts", **report}))
