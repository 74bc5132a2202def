"""How likely a model is to write given actions at a state, each with the token that ends it.

Actions that begin alike are read together: what follows their common tokens is worked out once, behind the state's keys
and values. Of very many actions (ScienceWorld has thousands in a state) only the most probable beginnings are followed,
``BEAM`` at a time; and none that is less probable already than as many whole actions as are wanted. Over codes each
next token costs as many output heads as there are codes: there actions are sifted by the base alone first.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch

from colasearch.agents.places import Place
from colasearch.engine.forward.actor import Actor
from colasearch.engine.forward.features import Features
from colasearch.model.likelihood import next_token_log_probs

DEAR = 1 << 20
"""Numbers of one next token's logits, over all codes, from which on actions are first sifted by the base alone."""
BEAM = 64
"""Beginnings of actions that are followed at a time; with no more actions than this all are judged."""
SIFTED = 16
"""Least number of actions of a state that are looked at over codes."""

Tokens = tuple[int, ...]


@dataclass(slots=True, eq=False)
class _Branch:
    """A beginning that some actions share.

    Attributes:
        place: Of the state.
        tokens: The beginning.
        total: Its log-likelihood.
        options: The actions that go on from it.
        row: Its place in the batch; None at the state itself.
        base: Length of that row before the actions' tokens.
    """

    place: int
    tokens: Tokens
    total: float
    options: list[int]
    row: Any = None
    base: int = 0


def log_likelihoods(
    actor: Actor, places: Sequence[Place], rows: Sequence[Sequence[Tokens]], width: int, at_once: int
) -> list[np.ndarray]:
    """Log-likelihoods of actions, one array a place; ``-inf`` where an action was sifted out.

    Args:
        actor: The model; over codes where its actions are codes.
        places: States.
        rows: Tokens of the actions at each.
        width: How many of each state are wanted; no more than ``BEAM`` are given where there are more.
        at_once: Most beginnings fed together.
    """
    dear = actor.latent and actor.lm.base.vocab_size * actor.num_actions >= DEAR
    if not dear:
        return _all(actor, places, rows, width, at_once, actor.latent)
    most = max(width, SIFTED)
    plain = _all(actor, places, rows, most, at_once, False)
    kept = [sorted(np.argsort(-score_O, kind="stable")[:most].tolist()) for score_O in plain]
    few = [[row[o] for o in which] for row, which in zip(rows, kept, strict=True)]
    found = [np.full(len(score_O), -np.inf) for score_O in plain]
    for score_O, which, part in zip(found, kept, _all(actor, places, few, width, at_once, True), strict=True):
        score_O[which] = part
    return found


def _all(
    actor: Actor, places: Sequence[Place], rows: Sequence[Sequence[Tokens]], width: int, at_once: int, codes: bool
) -> list[np.ndarray]:
    found = [np.full(len(row), -np.inf) for row in rows]
    for group in _groups([min(len(row), BEAM) for row in rows], at_once):
        _judge(actor, places, rows, group, min(width, BEAM), codes, found)
    return found


def _groups(sizes: Sequence[int], at_once: int) -> Iterator[list[int]]:
    """Places that are judged together."""
    group: list[int] = []
    total = 0
    for index, size in enumerate(sizes):
        if group and total + size > at_once:
            yield group
            group, total = [], 0
        if size:
            group.append(index)
            total += size
    if group:
        yield group


@torch.inference_mode()
def _judge(
    actor: Actor,
    places: Sequence[Place],
    rows: Sequence[Sequence[Tokens]],
    group: Sequence[int],
    width: int,
    codes: bool,
    found: Sequence[np.ndarray],
) -> None:
    """Fill in ``found`` for the places of ``group``."""
    branches = [_Branch(i, (), 0.0, list(range(len(rows[i])))) for i in group]
    features = Features.join([places[i].features for i in group])
    batch = actor.new_batch()
    while branches:
        children = _children(actor, branches, rows, features, codes)
        following: dict[int, list[tuple[_Branch, _Branch]]] = {i: [] for i in group}
        for parent, child in children:
            going = []
            for option in child.options:
                if len(rows[child.place][option]) == len(child.tokens):
                    found[child.place][option] = child.total
                else:
                    going.append(option)
            child.options = going
            if going:
                following[child.place].append((parent, child))
        kept = [pair for i in group for pair in _kept(following[i], found[i], width)]
        _place(batch, places, branches, kept)
        batch.make_room()
        going_on = list(batch.places())
        if not going_on:
            return
        features = actor.feed([place.item[0].tokens[-1] for place in going_on], batch)
        branches = [place.item[0] for place in going_on]


def _kept(pairs: Sequence[tuple[_Branch, _Branch]], found_O: np.ndarray, width: int) -> list[tuple[_Branch, _Branch]]:
    """The children worth following: the most probable ones, and none that as many whole actions have beaten."""
    whole = np.sort(found_O)[::-1]
    least = whole[width - 1] if len(whole) >= width else -np.inf
    fine = [pair for pair in pairs if pair[1].total > least or least == -np.inf]
    return sorted(fine, key=lambda pair: (-pair[1].total, pair[1].tokens))[:BEAM]


def _children(
    actor: Actor,
    branches: Sequence[_Branch],
    rows: Sequence[Sequence[Tokens]],
    features: Features,
    codes: bool,
) -> list[tuple[_Branch, _Branch]]:
    """Each branch's children by next token, with their log-likelihoods."""
    index: list[int] = []
    pairs: list[tuple[_Branch, _Branch]] = []
    for number, branch in enumerate(branches):
        by_token: dict[int, list[int]] = {}
        for option in branch.options:
            by_token.setdefault(rows[branch.place][option][len(branch.tokens)], []).append(option)
        for token, options in by_token.items():
            child = _Branch(branch.place, (*branch.tokens, token), branch.total, options, base=branch.base)
            pairs.append((branch, child))
            index.append(number)
    hidden = features.hidden_BD[index]
    scores = features.scores_BA[index] if codes and features.scores_BA is not None else None
    targets = torch.tensor([child.tokens[-1] for _, child in pairs], device=hidden.device)
    values = next_token_log_probs(actor.lm, hidden, targets, scores).double().cpu().tolist()
    for (_, child), value in zip(pairs, values, strict=True):
        child.total += value
    return pairs


def _place(
    batch: Any, places: Sequence[Place], branches: Sequence[_Branch], kept: Sequence[tuple[_Branch, _Branch]]
) -> None:
    """Give each kept child a row: its parent's own goes to the first of its children, copies to the others."""
    heirs: dict[int, list[_Branch]] = {}
    for parent, child in kept:
        heirs.setdefault(id(parent), []).append(child)
    fresh: list[tuple[_Branch, list[Any]]] = []
    for parent in branches:
        children = heirs.get(id(parent), [])
        path = places[parent.place].path
        if parent.row is None:
            fresh += [(child, path) for child in children]
            continue
        if len(children) > 1:
            own = batch.columns(parent.row, parent.base, parent.row.length)
            fresh += [(child, [*path, own]) for child in children[1:]]
        if children:
            parent.row.item[0] = children[0]
            children[0].row = parent.row
        else:
            batch.leave(parent.row)
    for child, path in fresh:
        child.row = batch.enter([child], path)
        child.base = child.row.length - (len(child.tokens) - 1)
