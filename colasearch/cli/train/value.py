"""``colasearch train value``: value and Q heads."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import click

from colasearch.cli.train.common import (
    COUNT,
    Bar,
    PathType,
    Run,
    Where,
    base_options,
    finish,
    judge_of,
    load,
    loop_options,
    states_of,
    take,
)


@click.command("value")
@click.option("--model", required=True, help="Model folder.")
@base_options
@click.option("--traces", multiple=True, type=PathType, help="Run folder of searches, or a trace file.")
@click.option("--rollouts", multiple=True, type=PathType, help="rollouts.jsonl of `train rl` or `train rollouts`.")
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
def command(
    model: str,
    traces: tuple[Path, ...],
    rollouts: tuple[Path, ...],
    head: str,
    data: tuple[Path, ...],
    task: str | None,
    epochs: int,
    batch: int,
    heldout: float,
    value_hidden: int,
    within_problems: bool,
    most_states: int | None,
    method: str,
    discount: float,
    sync_every: int,
    **common: Any,
) -> None:
    """Train the value head or the Q head from search traces or from logged rollouts; nothing else changes."""
    from colasearch.tasks import settled
    from colasearch.training.loop import fit
    from colasearch.training.problems import is_heldout
    from colasearch.training.value import add_head, plan_of

    if task is not None:
        settled(task)  # what traces name is looked at only where the user names it
    if data and (not traces or head == "q"):
        raise click.UsageError("--data tells true rewards of --traces to the value head; leave it out here")
    if bool(traces) == bool(rollouts):
        raise click.UsageError("give either --traces or --rollouts: what the heads are to learn from")
    if within_problems and (not rollouts or head == "q"):
        raise click.UsageError("--within-problems is for the value head and --rollouts; leave it out here")
    where, how = take(Where, common), take(Run, common)
    loaded = load(model, where)
    modules = loaded.require_latents()

    def fresh(start: float) -> None:
        add_head(modules, head, how.seed, value_hidden, start)

    holder, learner, owners = (
        _from_traces(loaded, traces, data, head, fresh)
        if traces
        else _from_rollouts(loaded, rollouts, head, method, discount, sync_every, within_problems, most_states, fresh)
    )
    held = [i for i, problem in enumerate(owners) if is_heldout(problem, heldout)]
    train = [i for i, problem in enumerate(owners) if not is_heldout(problem, heldout)]
    if not train:
        raise click.UsageError(
            f"{len(set(owners))} problems at --heldout {heldout} leave no state to train on; give more problems or "
            "another --heldout"
        )
    click.echo(f"{len(train)} states to train on, {len(held)} held out", err=True)
    config = {
        "model": model,
        "traces": [p.name for p in traces],
        "rollouts": [p.name for p in rollouts],
        "data": [p.name for p in data],
        "states": len(owners),
        "head": head,
        "epochs": epochs,
        "batch": batch,
        "heldout": heldout,
        "value_hidden": value_hidden,
        # As in manifests from before there was a choice, so that their runs resume.
        **({"within_problems": True} if within_problems else {}),
        **({"most_states": most_states} if most_states is not None else {}),
        "method": method,
        "discount": discount,
        "sync_every": sync_every,
    }
    loop = how.loop()
    run = how.start("value", loaded, config, loop)
    measures = (held, train) if hasattr(learner, "predict") else (held,)
    with Bar(head) as bar:
        result = fit(
            run,
            holder,
            learner.parameters(),
            loop,
            plan=lambda epoch: plan_of(train, batch, how.seed, epoch),
            epochs=epochs,
            accumulate=learner.accumulate,
            evaluate=lambda: learner.evaluate(*measures) if held else {},
            progress=bar.step,
            after_step=getattr(learner, "after_step", None),
        )
    finish("value" if head == "value" else "q", loaded, how, config, result)


def _from_traces(
    loaded: Any, paths: tuple[Path, ...], labels: tuple[Path, ...], head: str, fresh: Callable[[float], None]
) -> tuple[Any, Any, list[str]]:
    """What is saved, the learner, and each state's problem; a ``fresh`` head starts at the mean of its targets."""
    from colasearch.storage.traces import Trace
    from colasearch.training.search_data import find_traces, search_data
    from colasearch.training.value import HeadLearner, q_data, value_data

    modules = loaded.require_latents()
    data = search_data(
        (Trace.read(file) for path in paths for file in find_traces(path)), judge=judge_of(labels) if labels else None
    )
    states = states_of(loaded, data.corpus)
    table = value_data(states, data.nodes) if head == "value" else q_data(states, data.nodes, modules.config.num_codes)
    fresh(table.mean())
    return modules, HeadLearner(modules, head, table), [node.problem for node in data.nodes]


def _from_rollouts(
    loaded: Any,
    paths: tuple[Path, ...],
    head: str,
    method: str,
    discount: float,
    sync_every: int,
    within: bool,
    most_states: int | None,
    fresh: Callable[[float], None],
) -> tuple[Any, Any, list[str]]:
    from colasearch.training.q_learning import (
        DoubleQLearner,
        final_rewards,
        returns_of_codes,
        rollout_corpus,
        transitions,
    )
    from colasearch.training.rollout import read_rollouts
    from colasearch.training.value import HeadLearner, within_problems

    modules = loaded.require_latents()
    found = [row for path in paths for row in read_rollouts(path)]
    if not found:
        raise click.UsageError(f"{', '.join(map(str, paths))} holds no rollouts; make some with `train rollouts`")
    texts = _texts(found)
    if within:  # before the hidden states, which are what takes time
        found = [found[text] for text in texts.told_apart()]
        texts = _texts(found)
    states = states_of(loaded, rollout_corpus([episode for _, episode in found]))
    if most_states is not None:  # the hidden states of all are those of stage 1, so are there already
        found = first_states(found, most_states)
        texts = _texts(found)
    episodes = [episode for _, episode in found]
    owners = [problem for problem, episode in found for _ in episode.actions]
    data = transitions(states, episodes)
    table = final_rewards(data, episodes)
    if within:
        table, _ = within_problems(table, texts)
    fresh(table.mean())
    if head == "q" and method == "returns":
        table = returns_of_codes(data, episodes, modules.config.num_codes)
    if head == "value" or method == "returns":
        return modules, HeadLearner(modules, head, table, texts if head == "value" else None), owners
    learner = DoubleQLearner(modules.requires_grad_(False).q, data, discount, sync_every)
    return learner.holder, learner, owners


def first_states(found: list[tuple[str, Any]], most: int) -> list[tuple[str, Any]]:
    """The first rollouts, one at least, that have at most ``most`` states together."""
    ends = itertools.accumulate(len(episode.actions) for _, episode in found)
    return found[: max(1, sum(end <= most for end in ends))]


def _texts(found: Sequence[tuple[str, Any]]) -> Any:
    from colasearch.training.value import Texts

    problems, episodes = zip(*found, strict=True)
    return Texts(problems, [len(e.actions) for e in episodes], [e.reward for e in episodes])
