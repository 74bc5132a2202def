"""Preference pairs out of texts that have been scored: of two texts of one problem the better paid one is chosen."""

from __future__ import annotations

import random
from collections.abc import Mapping, Sequence
from typing import Any

from colasearch.errors import InputError
from colasearch.training.reinforcement.rl import Episode


def scored_texts(rollouts: Sequence[tuple[str, Episode]], tokenizer: Any) -> dict[str, list[tuple[str, float]]]:
    """Problem id to its different texts, each with its reward."""
    found: dict[str, dict[str, float]] = {}
    for problem, episode in rollouts:
        text = str(tokenizer.decode(list(episode.tokens[episode.prompt :]), skip_special_tokens=True)).strip()
        if text:
            found.setdefault(problem, {}).setdefault(text, episode.reward)
    return {problem: list(texts.items()) for problem, texts in found.items()}


def make_pairs(
    texts: Mapping[str, Sequence[tuple[str, float]]],
    wordings: Mapping[str, str],
    most: int,
    per_problem: int = 1,
    least_gap: float = 0.0,
    seed: int = 0,
) -> list[dict[str, Any]]:
    """Rows ``{"problem", "chosen", "rejected", "gap"}``; which pairs are drawn depends on seed and problem alone.

    Args:
        texts: Of ``scored_texts``.
        wordings: Problem id to its wording.
        most: Pairs at most; problems in an order that the seed fixes.
        per_problem: Pairs of one problem at most; none has a text that another one has.
        least_gap: Pairs whose rewards differ by no more are left out.
        seed: Fixes the draws.

    Raises:
        InputError: No two texts of a problem differ so much.
    """
    rows: list[dict[str, Any]] = []
    order = sorted(texts, key=lambda name: random.Random(f"{seed} {name}").random())
    for name in order:
        left = sorted(texts[name])
        random.Random(f"{seed} pairs {name}").shuffle(left)
        made = 0
        while len(left) > 1 and made < per_problem and len(rows) < most:
            text, reward = left.pop()
            place = next((i for i, (_, other) in enumerate(left) if abs(other - reward) > least_gap), None)
            if place is None:
                continue
            other, other_reward = left.pop(place)
            chosen, rejected = (text, other) if reward > other_reward else (other, text)
            gap = round(abs(reward - other_reward), 6)
            rows.append({"problem": wordings[name], "chosen": chosen, "rejected": rejected, "gap": gap})
            made += 1
    if not rows:
        raise InputError(
            f"no two texts of one of {len(texts)} problems have rewards that differ by more than {least_gap:g}; sample "
            "more texts a problem, or use a reward that tells them apart"
        )
    return rows
