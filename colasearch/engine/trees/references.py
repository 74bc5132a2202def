"""Reference rollouts: a few answers from the root, to which a model without a value head holds later leaves."""

from __future__ import annotations

from collections import Counter
from collections.abc import Hashable
from dataclasses import dataclass, field

import numpy as np

from colasearch.engine.decoding.row import Row


@dataclass(slots=True)
class References:
    """The reference rollouts of one tree.

    Attributes:
        rows: Those in progress, each with its order once it is done.
        answers: How often each answer came out; of sound texts alone.
        count: Rollouts that are done.
    """

    rows: dict[Row, int | None] = field(default_factory=dict)
    answers: Counter[Hashable] = field(default_factory=Counter)
    count: int = 0

    def take(self, row: Row, order: int) -> bool:
        """Note that a rollout is done; returns whether all are."""
        self.rows[row] = order
        return None not in self.rows.values()

    def end(self) -> dict[Row, int]:
        """The rollouts that are done, each with its order; the others are given up."""
        done = {row: order for row, order in self.rows.items() if order is not None}
        self.rows, self.count = {}, len(done)
        return done

    def agreement(self, answer: Hashable) -> float:
        """The fraction of rollouts with an answer, smoothed after Laplace."""
        return (1 + self.answers[answer]) / (2 + self.count)


def drawn(probability_A: np.ndarray, uniforms: np.ndarray) -> list[int]:
    """The actions that uniform numbers draw from probabilities ``[A]``."""
    cumulative_A = np.cumsum(probability_A)
    last = len(cumulative_A) - 1
    return [min(int(np.searchsorted(cumulative_A, uniform, side="right")), last) for uniform in uniforms]
