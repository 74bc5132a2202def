"""Expert iteration on an environment: its problems are episodes, played by a search that may begin them again.

Iteration i of ``colasearch iterate --data env:NAME``, each line one stage (see ``stages``), killable at any point:

* ``search-i``: plan the next slice of the train variations in the true environment, and play what was planned.
* ``solved-i``: the episodes that this solved, as rows.
* ``policy-i``: the policy clones their actions. Where none was solved it stays as it is, and the stage is left out.
* ``rollouts-i``, ``value-i``: the policy plays the same variations; the value head learns what the rest of an episode
  brings. Of the search's trees it does not learn: they hold what was looked at, not what the policy comes to.
* ``rl-i``: RL on codes goes on from there, on all train variations; the reward is the episode's score.
* ``check-i``: dev variations, once greedily and once with the search. ``check-0`` is the model as it came.

A model without value head gets one first (``rollouts-0``, ``value-0``).

Source: expert iteration (Anthony et al. 2017), whose expert's moves are cloned, on CoLA's latent actions.
"""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass

from colasearch.experiments.recipes.iterating import MODEL, Common, flagged, rl_numbers, searcher_of, seeded, slice_of
from colasearch.experiments.running.stages import Stage, Stages

PREFIX = "env:"
SOLVED = "solved.jsonl"
WHOLE = 1 << 20
"""Tokens of an episode that is cloned: all that the context holds, as when it was played."""


@dataclass(frozen=True)
class EpisodeNumbers(Common):
    """Every number of a run on an environment that a user may give.

    Attributes:
        max_steps: Longest episode, in actions; None: the environment's own limit.
        width: Actions that a search looks at in a state.
        servers, server_timeout: Of an environment that runs in processes of its own; not part of the results.
    """

    max_steps: int | None = None
    width: int = 8
    servers: int = 1
    server_timeout: float = 60.0


@dataclass(frozen=True)
class EpisodeIterations(EpisodeNumbers):
    """The same, with what model and environment say.

    Attributes:
        environment: ``NAME[:TASKS]`` or ``FILE.py[:Class[:TASKS]]``, with an absolute path.
        train: Train variations.
        checked: Dev variations that are measured on, the first ones.
        has_value: Whether the model has a value head.
    """

    environment: str = "house"
    train: int = 1
    checked: int = 1
    has_value: bool = True


def solved_name(number: int) -> str:
    """Name of the stage after which is known whether iteration ``number`` has a ``policy-i``."""
    return f"solved-{number}"


def stages(how: EpisodeIterations, unsolved: Collection[int] = ()) -> list[Stage]:
    """The stages of ``how``, in order; iterations in ``unsolved`` solved none of their episodes."""
    how.check()
    plan = Stages()
    model = how.model
    _check(plan, how, 0, model)
    if not how.has_value:
        model = _value(plan, how, 0, model)
    for number in range(1, how.iterations + 1):
        rows = _search(plan, how, number, model)
        if number not in unsolved:
            model = _cloned(plan, how, number, model, rows)
        model = _value(plan, how, number, model)
        if how.rl_rounds:
            model = _rl(plan, how, number, model)
        _check(plan, how, number, model)
    return plan.found


def _bench(how: EpisodeIterations, model: str, sims: int) -> tuple[object, ...]:
    return (
        *("bench", f"{PREFIX}{how.environment}", "--model", model, "--actions", "latent"),
        *(*searcher_of(how), "--sims", sims, *flagged("--temperature", how.temperature)),
        *("--width", how.width, *flagged("--max-steps", how.max_steps), *flagged("--max-tokens", how.max_tokens)),
        *("--batch-size", how.batch_size, *seeded(how), "--json"),
    )


def _where(how: EpisodeIterations) -> tuple[object, ...]:
    """Options that results do not depend on; none, if they are as they would be."""
    servers = None if how.servers == EpisodeNumbers.servers else how.servers
    timeout = None if how.server_timeout == EpisodeNumbers.server_timeout else how.server_timeout
    return (*flagged("--servers", servers), *flagged("--server-timeout", timeout))


def _check(plan: Stages, how: EpisodeIterations, number: int, model: str) -> None:
    plan.add(
        f"check-{number}",
        f"dev variations {f'after iteration {number}' if number else 'before the first iteration'}",
        *(*_bench(how, model, how.eval_sims), "--arms", "greedy", "--split", "dev", "--limit", how.checked),
        "--no-traces",
        partial=True,
        runtime=_where(how),
    )


def _search(plan: Stages, how: EpisodeIterations, number: int, model: str) -> str:
    """The search, and its solved episodes: the file of their rows."""
    played = plan.add(
        f"search-{number}",
        f"iteration {number}: search",
        *(*_bench(how, model, how.sims), "--arms", how.searcher, "--split", "train"),
        *slice_of(how, number, how.train),
        partial=True,
        runtime=_where(how),
    )
    return plan.add(
        solved_name(number),
        f"iteration {number}: the episodes that it solved",
        *("train", "problems", "--kind", "solved", "--run", played, "--count", how.problems_per_iteration),
        output=SOLVED,
    )


def _cloned(plan: Stages, how: EpisodeIterations, number: int, model: str, rows: str) -> str:
    folder = plan.add(
        f"policy-{number}",
        f"iteration {number}: the policy clones them",
        *("train", "policy", "--model", model, "--data", rows, "--max-tokens", WHOLE, "--epochs", how.policy_epochs),
        *("--lr", how.policy_lr, "--batch-tokens", 2048, "--warmup-steps", 5),
        *("--heldout", 0, *seeded(how)),  # what comes of it is measured on dev variations
    )
    return f"{folder}/{MODEL}"


def _value(plan: Stages, how: EpisodeIterations, number: int, model: str) -> str:
    """The value head of iteration ``number``; 0: a first one, from the variations that are searched first."""
    rollouts = plan.add(
        f"rollouts-{number}",
        f"iteration {number}: episodes that the policy plays" if number else "episodes for a first value head",
        *("train", "rollouts", "--model", model, "--data", f"{PREFIX}{how.environment}", "--samples", how.samples),
        *(*slice_of(how, max(1, number), how.train), *flagged("--max-steps", how.max_steps)),
        *(*flagged("--max-new-tokens", how.max_tokens), *seeded(how, number)),
        output="rollouts.jsonl",
        goes_on=True,
        runtime=_where(how),
    )
    folder = plan.add(
        f"value-{number}",
        f"iteration {number}: the value head learns their scores" if number else "a first value head, of their scores",
        *("train", "value", "--model", model, "--rollouts", rollouts, "--head", "value"),
        *("--epochs", how.value_epochs, "--lr", how.value_lr, *seeded(how)),
    )
    return f"{folder}/{MODEL}"


def _rl(plan: Stages, how: EpisodeIterations, number: int, model: str) -> str:
    folder = plan.add(
        f"rl-{number}",
        f"iteration {number}: RL on codes",
        *("train", "rl", "--model", model, "--data", f"{PREFIX}{how.environment}", *rl_numbers(how)),
        *("--heldout", 0, *flagged("--max-steps", how.max_steps), *seeded(how, number)),
        runtime=_where(how),
    )
    return f"{folder}/{MODEL}"
