"""UCT, the plain upper-confidence tree search."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from colasearch.searchers import rules
from colasearch.searchers.descent import Descent
from colasearch.searchers.options import DescentOptions, at_least
from colasearch.searchers.outcome import Choice, by_visits, with_solved
from colasearch.searchers.puct import visits_decided
from colasearch.searchers.search import Search
from colasearch.searchers.tree import Bools, Ints


@dataclass(frozen=True, kw_only=True)
class Uct(DescentOptions):
    """``argmax Q + exploration · √(ln N / n)``; untried actions first, by prior.

    Source: Kocsis and Szepesvári 2006, "Bandit based Monte-Carlo planning". Cost O(depth · A) a simulation. When to
    use: few actions, many simulations, and no policy worth trusting; with 64 actions a node is left only after 64
    visits, so the tree stays shallow.

    Attributes:
        exploration: c; √2 suits returns in [0, 1], and should grow with their range.
    """

    name: ClassVar[str] = "uct"

    exploration: float = 2**0.5

    def __post_init__(self) -> None:
        """Check the options."""
        super().__post_init__()
        at_least("exploration", self.exploration, 0)

    def start(self, search: Search) -> None:
        """Make ``search`` run this algorithm."""
        search.strategy = Descent(search, self, self)

    def choose(self, search: Search, row_R: Ints) -> Ints:
        """See :class:`colasearch.searchers.descent.Rule`."""
        edges = rules.edges_of(search.tree, row_R, search.leaves_in_flight > 1, self.loss)
        scores_RA = rules.uct_scores(search.tree, edges, self.exploration)
        chosen_R: Ints = rules.where_open(search.tree, edges, scores_RA, self.revisit).argmax(axis=1)
        return chosen_R

    def choose_root(self, search: Search, tree_T: Ints) -> Ints:
        """The same rule as at other nodes."""
        return self.choose(search, tree_T * search.tree.capacity)

    def may_go_on(self, search: Search, tree_T: Ints) -> Bools:
        """Any number of leaves may be in flight."""
        return np.ones(tree_T.size, np.bool_)

    def decided(self, search: Search, tree_T: Ints) -> Bools:
        """The most visited action leads by more visits than are left."""
        return visits_decided(search, tree_T)

    def conclude(self, search: Search) -> Choice:
        """Most visited action; the policy target is the share of visits."""
        return with_solved(search, by_visits(search))
