"""UCT, the plain upper-confidence tree search."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from colasearch.searchers import rules
from colasearch.searchers.by_visits import ByVisits
from colasearch.searchers.descent import Descent
from colasearch.searchers.options import at_least
from colasearch.searchers.search import Search
from colasearch.searchers.tree import Ints


@dataclass(frozen=True, kw_only=True)
class Uct(ByVisits):
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
