"""How likely a model is to write given actions at a state, each with the token that ends it.

Actions of one state are fed side by side behind its keys and values, a token each at a time, so a state's text is read
once. Where several begin alike, what follows their common tokens is worked out once. Over codes each next token costs
as many output heads as there are codes: of many actions only those likeliest under the base alone are looked at so.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch

from colasearch.agents.layout import Chunk
from colasearch.agents.places import Place
from colasearch.engine.forward.actor import Actor
from colasearch.engine.forward.features import Features
from colasearch.model.likelihood import next_token_log_probs

DEAR = 1 << 20
"""Numbers of one next token's logits, over all codes, from which on actions are first sifted by the base alone."""


@dataclass(slots=True, eq=False)
class _Fed:
    """An action that is being judged: whose it is, and its log-likelihood so far."""

    place: int
    option: int
    tokens: tuple[int, ...]
    total: float = 0.0
    at: int = 0


def log_likelihoods(
    actor: Actor, places: Sequence[Place], rows: Sequence[Sequence[Sequence[int]]], width: int, at_once: int
) -> list[np.ndarray]:
    """Log-likelihoods of actions, one array a place; ``-inf`` where an action was sifted out.

    Args:
        actor: The model; over codes where its actions are codes.
        places: States.
        rows: Tokens of the actions at each.
        width: How many of each state are wanted.
        at_once: Most actions fed together.
    """
    base = actor.lm.base
    sift = actor.latent and base.vocab_size * actor.num_actions >= DEAR
    if not sift:
        return _all(actor, places, rows, at_once, actor.latent)
    plain = _all(actor, places, rows, at_once, False)
    kept = [sorted(np.argsort(-score_O, kind="stable")[:width].tolist()) for score_O in plain]
    fine = _all(
        actor, places, [[row[o] for o in which] for row, which in zip(rows, kept, strict=True)], at_once, True
    )
    found = [np.full(len(score_O), -np.inf) for score_O in plain]
    for score_O, which, part in zip(found, kept, fine, strict=True):
        score_O[which] = part
    return found


def _all(
    actor: Actor, places: Sequence[Place], rows: Sequence[Sequence[Sequence[int]]], at_once: int, codes: bool
) -> list[np.ndarray]:
    fed = [_Fed(i, o, tuple(tokens)) for i, row in enumerate(rows) for o, tokens in enumerate(row)]
    if fed:
        _judge(actor, fed, Features.join([places[one.place].features for one in fed]), codes)
    for begin in range(0, len(fed), max(1, at_once)):
        _feed(actor, places, fed[begin : begin + max(1, at_once)], codes)
    found = [np.zeros(len(row)) for row in rows]
    for one in fed:
        found[one.place][one.option] = one.total
    return found


@torch.inference_mode()
def _feed(actor: Actor, places: Sequence[Place], fed: Sequence[_Fed], codes: bool) -> None:
    """Feed each action's tokens but the last, and judge the one after each."""
    batch = actor.new_batch()
    for one in fed:
        if len(one.tokens) > 1:
            batch.enter(one, places[one.place].path)
    while True:
        batch.make_room()
        going = list(batch.places())
        if not going:
            return
        features = actor.feed([place.item.tokens[place.item.at - 1] for place in going], batch)
        _judge(actor, [place.item for place in going], features, codes)
        for place in going:
            if place.item.at >= len(place.item.tokens):
                batch.leave(place)


def _judge(actor: Actor, fed: Sequence[_Fed], features: Features, codes: bool) -> None:
    """Add the log-likelihood of each action's next token, given what the model knows before it."""
    first: dict[tuple[int, tuple[int, ...]], int] = {}
    for row, one in enumerate(fed):
        first.setdefault((one.place, one.tokens[: one.at + 1]), row)
    rows = list(first.values())
    some = features.rows(rows)
    targets = torch.tensor([fed[row].tokens[fed[row].at] for row in rows], device=some.hidden_BD.device)
    scores = some.scores_BA if codes else None
    values = next_token_log_probs(actor.lm, some.hidden_BD, targets, scores).double().cpu().tolist()
    known = dict(zip(first, values, strict=True))
    for one in fed:
        one.total += known[one.place, one.tokens[: one.at + 1]]
        one.at += 1
