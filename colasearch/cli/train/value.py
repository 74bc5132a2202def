"""``colasearch train value``: value and Q heads."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import click

from colasearch.cli.train.bar import Bar
from colasearch.cli.train.judging import judge_of
from colasearch.cli.train.loading import load, states_of
from colasearch.cli.train.on_text import finish
from colasearch.cli.train.options import COUNT, PathType, base_options, loop_options
from colasearch.cli.train.settings import Run, Where


@dataclass(frozen=True, kw_only=True)
class ValueSettings(Where, Run):
    """``colasearch train value``: fields are named as the flags are."""

    model: str
    traces: tuple[Path, ...] = ()
    rollouts: tuple[Path, ...] = ()
    head: Literal["value", "q"] = "value"
    data: tuple[Path, ...] = ()
    task: str | None = None
    warmup_steps: int = 20
    save_every: int = 500
    epochs: int = 20
    batch: int = 256
    heldout: float = 0.1
    value_hidden: int = 128
    within_problems: bool = False
    most_states: int | None = None
    method: Literal["dqn", "returns"] = "dqn"
    discount: float = 1.0
    sync_every: int = 50

    def check(self) -> None:
        """Check what one flag alone does not show.

        Raises:
            UsageError: There are not traces or rollouts, there are both, or a flag is of another kind of learning.
        """
        if self.data and (not self.traces or self.head == "q"):
            raise click.UsageError("--data tells true rewards of --traces to the value head; leave it out here")
        if bool(self.traces) == bool(self.rollouts):
            raise click.UsageError("give either --traces or --rollouts: what the heads are to learn from")
        if self.within_problems and (not self.rollouts or self.head == "q"):
            raise click.UsageError("--within-problems is for the value head and --rollouts; leave it out here")

    def record(self, states: int) -> dict[str, Any]:
        """What a run's results depend on, with the number of states that the head learns from."""
        return {
            "model": self.model,
            "traces": [p.name for p in self.traces],
            "rollouts": [p.name for p in self.rollouts],
            "data": [p.name for p in self.data],
            "states": states,
            "head": self.head,
            "epochs": self.epochs,
            "batch": self.batch,
            "heldout": self.heldout,
            "value_hidden": self.value_hidden,
            # As in manifests from before there was a choice, so that their runs resume.
            **({"within_problems": True} if self.within_problems else {}),
            **({"most_states": self.most_states} if self.most_states is not None else {}),
            "method": self.method,
            "discount": self.discount,
            "sync_every": self.sync_every,
        }


@click.command("value")
@click.option("--model", required=True, help="Model folder.")
@base_options
@click.option("--traces", multiple=True, type=PathType, help="Run folder of searches, or a trace file.")
@click.option(
    "--rollouts",
    multiple=True,
    type=PathType,
    help="rollouts.jsonl of `train rl` or `train rollouts`, also of an environment.",
)
@click.option(
    "--head",
    type=click.Choice(["value", "q"]),
    default="value",
    show_default=True,
    help="Which head. q from --rollouts: double DQN; all else: regression on returns.",
)
@click.option(
    "--data",
    multiple=True,
    type=PathType,
    help="With --traces: problems with answers (jsonl). Values are then mean true rewards of the finished texts below "
    "a state, not what the search believed.",
)
@click.option("--task", metavar="TASK", help="With --data: the traces' task, where it is a file (docs/tasks.md).")
@loop_options(lr=1e-3, warmup_steps=20, save_every=500, evaluate_every=500)
@click.option("--epochs", type=COUNT, default=20, show_default=True)
@click.option("--batch", type=COUNT, default=256, show_default=True, help="States in one update.")
@click.option("--heldout", type=click.FloatRange(0, 1), default=0.1, show_default=True, help="Share of problems.")
@click.option("--value-hidden", type=COUNT, default=128, show_default=True, help="Width of a new value head's MLP.")
@click.option(
    "--within-problems",
    is_flag=True,
    help="With --rollouts: learn only what tells a problem's right texts from its wrong ones, not which problems are "
    "easy. For choosing among finished texts; its values are no expected rewards.",
)
@click.option(
    "--most-states", type=COUNT, default=None, help="With --rollouts: of the first texts that have so many states."
)
@click.option(
    "--method",
    type=click.Choice(["dqn", "returns"]),
    default="dqn",
    show_default=True,
    help="q from --rollouts: double DQN, or regression on final rewards.",
)
@click.option("--discount", type=click.FloatRange(0, 1), default=1.0, show_default=True, help="For double DQN.")
@click.option("--sync-every", type=COUNT, default=50, show_default=True, help="Steps between target renewals (DQN).")
def command(**given: Any) -> None:
    """Train the value head or the Q head from search traces or from logged rollouts; nothing else changes."""
    run(ValueSettings(**given))


def run(settings: ValueSettings) -> None:
    """Train as ``settings`` say."""
    from colasearch.tasks import settled
    from colasearch.training.data.problems import is_heldout
    from colasearch.training.running.loop import fit
    from colasearch.training.values.heads import add_head, plan_of

    settings.check()
    if settings.task is not None:
        settled(settings.task)  # what traces name is looked at only where the user names it
    loaded = load(settings.model, settings)
    modules = loaded.require_latents()
    head, heldout = settings.head, settings.heldout

    def fresh(start: float) -> None:
        add_head(modules, head, settings.seed, settings.value_hidden, start)

    make = _from_traces if settings.traces else _from_rollouts
    holder, learner, owners = make(loaded, settings, fresh)
    held = [i for i, problem in enumerate(owners) if is_heldout(problem, heldout)]
    train = [i for i, problem in enumerate(owners) if not is_heldout(problem, heldout)]
    if not train:
        raise click.UsageError(
            f"{len(set(owners))} problems at --heldout {heldout} leave no state to train on; give more problems or "
            "another --heldout"
        )
    click.echo(f"{len(train)} states to train on, {len(held)} held out", err=True)
    config = settings.record(len(owners))
    loop = settings.loop()
    opened = settings.start("value", loaded, config, loop)
    measures = (held, train) if hasattr(learner, "predict") else (held,)
    with Bar(head) as bar:
        result = fit(
            opened,
            holder,
            learner.parameters(),
            loop,
            plan=lambda epoch: plan_of(train, settings.batch, settings.seed, epoch),
            epochs=settings.epochs,
            accumulate=learner.accumulate,
            evaluate=lambda: learner.evaluate(*measures) if held else {},
            progress=bar.step,
            after_step=getattr(learner, "after_step", None),
        )
    finish("value" if head == "value" else "q", loaded, settings, config, result)


def _from_traces(loaded: Any, settings: ValueSettings, fresh: Callable[[float], None]) -> tuple[Any, Any, list[str]]:
    """What is saved, the learner, and each state's problem; a ``fresh`` head starts at the mean of its targets."""
    from colasearch.storage.traces import Trace
    from colasearch.training.from_search.targets import find_traces, search_data
    from colasearch.training.values.heads import HeadLearner, q_data, value_data

    modules, head = loaded.require_latents(), settings.head
    files = (file for path in settings.traces for file in find_traces(path))
    data = search_data((Trace.read(file) for file in files), judge=judge_of(settings.data) if settings.data else None)
    states = states_of(loaded, data.corpus)
    table = value_data(states, data.nodes) if head == "value" else q_data(states, data.nodes, modules.config.num_codes)
    fresh(table.mean())
    return modules, HeadLearner(modules, head, table), [node.problem for node in data.nodes]


def _from_rollouts(loaded: Any, settings: ValueSettings, fresh: Callable[[float], None]) -> tuple[Any, Any, list[str]]:
    from colasearch.training.reinforcement.rollout import read_rollouts
    from colasearch.training.values.heads import HeadLearner, within_problems
    from colasearch.training.values.q_learning import (
        DoubleQLearner,
        final_rewards,
        returns_of_codes,
        rollout_corpus,
        scores_to_go,
        transitions,
    )

    modules = loaded.require_latents()
    head, method = settings.head, settings.method
    found = [row for path in settings.rollouts for row in read_rollouts(path)]
    if not found:
        raise click.UsageError(
            f"{', '.join(map(str, settings.rollouts))} holds no rollouts; make some with `train rollouts`"
        )
    played = [bool(episode.to_go) for _, episode in found]
    if any(played) and not (all(played) and head == "value" and not settings.within_problems):
        raise click.UsageError(
            "--rollouts has episodes of an environment: they train --head value, on the score that is still to come; "
            "leave --within-problems out, and give rollouts of problems in a run of their own"
        )
    texts = _texts(found)
    if settings.within_problems:  # before the hidden states, which are what takes time
        found = [found[text] for text in texts.told_apart()]
        texts = _texts(found)
    states = states_of(loaded, rollout_corpus([episode for _, episode in found]))
    if settings.most_states is not None:  # the hidden states of all are those of stage 1, so are there already
        found = first_states(found, settings.most_states)
        texts = _texts(found)
    episodes = [episode for _, episode in found]
    owners = [problem for problem, episode in found for _ in range(_states(episode))]
    if all(played):
        table = scores_to_go(states, episodes)
        fresh(table.mean())
        return modules, HeadLearner(modules, head, table, texts), owners
    data = transitions(states, episodes)
    table = final_rewards(data, episodes)
    if settings.within_problems:
        table, _ = within_problems(table, texts)
    fresh(table.mean())
    if head == "q" and method == "returns":
        table = returns_of_codes(data, episodes, modules.config.num_codes)
    if head == "value" or method == "returns":
        return modules, HeadLearner(modules, head, table, texts if head == "value" else None), owners
    learner = DoubleQLearner(modules.requires_grad_(False).q, data, settings.discount, settings.sync_every)
    return learner.holder, learner, owners


def first_states(found: list[tuple[str, Any]], most: int) -> list[tuple[str, Any]]:
    """The first rollouts, one at least, that have at most ``most`` states together."""
    ends = itertools.accumulate(_states(episode) for _, episode in found)
    return found[: max(1, sum(end <= most for end in ends))]


def _texts(found: Sequence[tuple[str, Any]]) -> Any:
    from colasearch.training.values.heads import Texts

    problems, episodes = zip(*found, strict=True)
    return Texts(problems, [_states(e) for e in episodes], [e.reward for e in episodes])


def _states(episode: Any) -> int:
    """States of a rollout that have a target: where a token is chosen; of an environment where a whole action is."""
    return len(episode.to_go or episode.actions)
