"""REBASE: reward-balanced search, a beam whose nodes get width in proportion to their exponentiated reward."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar

from colasearch.errors import InputError
from colasearch.problem import StopReason
from colasearch.searchers.beam import children_of, set_aside_finished
from colasearch.searchers.options import at_least
from colasearch.searchers.outcome import Choice
from colasearch.searchers.programs import Branch, Program, Programs, by_paths
from colasearch.searchers.search import Search


def balanced_widths(scores: Sequence[float], width: int, temperature: float) -> list[int]:
    """Split ``width`` over nodes by ``softmax(score / temperature)``, best node first, rounding up.

    With nodes sorted by score, ``n_i = ⌈W · e^{R_i/T} / S⌉``; then ``W ← W - n_i`` and ``S ← S - e^{R_i/T}``. Equal
    scores keep their order. The widths sum to ``width``. Cost O(n log n).

    Examples:
        >>> balanced_widths([0.9, 0.5, 0.1], 16, 0.2)
        [14, 2, 0]
    """
    order = sorted(range(len(scores)), key=lambda place: -scores[place])
    top = max(scores, default=0.0)
    weights = [math.exp((score - top) / temperature) for score in scores]
    widths = [0] * len(scores)
    for rank, place in enumerate(order):
        # Summing what is left is exact where subtracting from a running sum could leave 0 or less.
        rest = math.fsum(weights[later] for later in order[rank:])
        share = width if rest <= 0 else math.ceil(round(width * weights[place] / rest, 9))
        widths[place] = min(width, share)
        width -= widths[place]
    return widths


@dataclass(frozen=True, kw_only=True)
class Rebase:
    """Reward-balanced search.

    Each level shares ``width`` children out over the open nodes by :func:`balanced_widths` of their scores; a node
    with ``n`` tries its ``n`` actions of largest prior. Each finished node takes one unit of width with it. Source:
    Wu et al. 2024, "Inference scaling laws". Cost at most ``width`` simulations a level. When to use: a good value
    head and a fixed token budget; explores more than beam search and costs less than MCTS.

    Attributes:
        width: Children a level, W.
        temperature: T of the balance, on the scale of the scores.
    """

    name: ClassVar[str] = "rebase"

    width: int = 16
    temperature: float = 0.2

    def __post_init__(self) -> None:
        """Check the options."""
        at_least("width", self.width, 1)
        if not self.temperature > 0:
            raise InputError(f"temperature is {self.temperature}; it must be above 0; use beam for the limit 0")

    def start(self, search: Search) -> None:
        """Make ``search`` run this algorithm."""
        search.strategy = Programs(search, self._program)

    def _program(self, branch: Branch) -> Program:
        frontier, width = [Branch.ROOT], self.width
        while frontier and width > 0:
            scores = [branch.score(node) for node in frontier]
            widths = balanced_widths(scores, width, self.temperature)
            edges = [
                (node, action)
                for node, count in zip(frontier, widths, strict=True)
                for action in branch.top_actions(node, count)
            ]
            yield edges
            children = children_of(branch, edges)
            frontier = set_aside_finished(branch, children)
            width -= len(children) - len(frontier)
        return StopReason.EXHAUSTED

    def conclude(self, search: Search) -> Choice:
        """The candidate with the best score."""
        return by_paths(search)
