"""Episodes of an environment that its own gold actions solve, to clone."""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import closing
from typing import Any

from colasearch.agents.episode import begin, end
from colasearch.agents.layout import PLAIN_LEAD, PLAIN_MARK
from colasearch.environments import Catalogue, EnvironmentFault, Start, catalogue_of, find
from colasearch.errors import InputError


def gold_episodes(ref: str, split: str, count: int, seed: int) -> tuple[list[dict[str, Any]], list[str]]:
    """At most ``count`` solved episodes of a split, one of each variation, in an order drawn from ``seed``.

    Args:
        ref: ``NAME[:TASK]`` or ``FILE.py:Class[:TASK]``.
        split: ``train`` or ``dev``.
        count: Most episodes.
        seed: Of the order, and so of which are taken.

    Returns:
        The rows, and what was wrong with the episodes that are left out: they broke, or their gold actions do not solve
        them.

    Raises:
        InputError: The environment has no gold actions, or none of the episodes can be used.
    """
    kind, task = find(ref)
    with closing(_Closing(kind.close)):
        catalogue = catalogue_of(kind)
        if "gold" not in catalogue.has:
            raise InputError(f"environment {kind.name} has no gold(), which says the actions that solve an episode")
        rows, failed = [], []
        for start in catalogue.starts(task, split, limit=count, shuffle_seed=seed):
            try:
                rows.append(gold_episode(catalogue, start))
            except (EnvironmentFault, InputError) as error:
                failed.append(str(error))
    if not rows:
        raise InputError(f"no episode of {ref} can be used: {failed[0]}")
    return rows, failed


def episode_text(row: Mapping[str, Any]) -> dict[str, str]:
    """An episode's row as one of plain text, laid out as a base without a chat template reads it.

    Every word of it is learned from, observations too.
    """
    opening = f"{row['instruction']}\n\n{row['observation']}"
    turns = [f"{PLAIN_LEAD}{turn['action']}\n{turn['observation']}" for turn in row["turns"]]
    return {"text": PLAIN_MARK.join([opening, *turns])}


class _Closing:
    """Something to call at the end."""

    def __init__(self, close: Any) -> None:
        self.close = close


def gold_episode(catalogue: Catalogue, start: Start) -> dict[str, Any]:
    """The row of one episode.

    Raises:
        EnvironmentFault: The environment is at fault, or its gold actions do not solve it.
    """
    live = begin(catalogue, start)
    try:
        if live.error is not None:
            raise live.error
        actions = live.environment.gold() or ()
        for action in actions:
            if live.going:
                live.step(action, len(actions) + 1)
        if live.error is not None:
            raise live.error
    finally:
        end([live])
    episode = live.episode
    if not episode.success:
        raise EnvironmentFault(f"episode {start.id}: its gold actions do not solve it (score {episode.score:g})")
    return {
        "environment": catalogue.kind.name,
        "task": start.task,
        "variation": start.variation,
        "instruction": catalogue.instruction,
        "observation": episode.first,
        "turns": [{"action": t.action, "observation": t.observation, "reward": t.reward} for t in episode.turns],
        "score": episode.score,
    }
