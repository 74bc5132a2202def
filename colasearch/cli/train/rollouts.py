"""``colasearch train rollouts``: sample texts of labelled problems and log them with codes and rewards."""

from __future__ import annotations

import json
from collections import Counter
from typing import Any

import click

from colasearch.cli.train.common import COUNT, Bar, PathType, Where, base_options, load, take
from colasearch.cli.train.rl import Problems, problem_options


@click.command("rollouts")
@click.option("--model", required=True, help="Model folder with a trained policy.")
@base_options
@problem_options
@click.option("--samples", type=COUNT, default=16, show_default=True, help="Rollouts a problem.")
@click.option("--seed", default=0, show_default=True)
@click.option("--output", required=True, type=PathType, help="jsonl file; problems that it holds are skipped.")
def command(model: str, samples: int, seed: int, output: Any, **common: Any) -> None:
    """Sample texts over latent codes and log them, for `train value --rollouts`.

    Started again with the same options it goes on where it was stopped.
    """
    from colasearch.training.rollout import RolloutLog, read_rollouts

    where, given = take(Where, common), take(Problems, common)
    loaded = load(model, where, to_train=False)
    given = given.settled(loaded)
    problems, _, _ = given.load()
    roller = given.roller(loaded, problems, seed, group=samples, states=False)
    output.parent.mkdir(parents=True, exist_ok=True)
    done = Counter(problem for problem, _ in read_rollouts(output)) if output.exists() else Counter()
    first = next((n for n, labelled in enumerate(problems) if done[labelled.problem.id] < samples), len(problems))
    log = RolloutLog(output)
    # One round a problem: a problem that was interrupted is done again as a whole.
    total = reward = 0.0
    with Bar("rollouts") as bar:
        # Enough texts that the batch is seldom short of rows, few enough that little is lost with an interruption.
        together = max(1, 8 * given.rows // samples)
        for begin in range(first, len(problems), together):
            episodes = roller.collect(range(begin, min(begin + together, len(problems))), 0)
            for at in range(0, len(episodes), samples):
                log.append(episodes[at].problem, problems, episodes[at : at + samples])
            total, reward = total + len(episodes), reward + sum(e.reward for e in episodes)
            bar.update(min(begin + together, len(problems)), len(problems))
    click.echo(
        json.dumps({"schema": 1, "kind": "rollouts", "rollouts": int(total), "mean_reward": reward / max(1, total)})
    )
