"""Descents that have one rule for all nodes, and in the end play the most visited action."""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import dataclass

import numpy as np

from colasearch.searchers.options import DescentOptions
from colasearch.searchers.outcome import Choice, by_visits, with_solved
from colasearch.searchers.search import Search
from colasearch.searchers.tree import Bools, Ints


@dataclass(frozen=True, kw_only=True)
class ByVisits(DescentOptions, ABC):
    """A :class:`colasearch.searchers.descent.Rule` but for ``choose``."""

    @abstractmethod
    def choose(self, search: Search, row_R: Ints) -> Ints:
        """See :class:`colasearch.searchers.descent.Rule`."""

    def choose_root(self, search: Search, tree_T: Ints) -> Ints:
        """The same rule as at other nodes."""
        return self.choose(search, tree_T * search.tree.capacity)

    def may_go_on(self, search: Search, tree_T: Ints) -> Bools:
        """Any number of leaves may be in flight."""
        return np.ones(tree_T.size, np.bool_)

    def decided(self, search: Search, tree_T: Ints) -> Bools:
        """The most visited root action leads the second by more than the simulations left, ``[T]``."""
        visits_TA = search.tree.edge_visits_BNA[tree_T, 0]
        if visits_TA.shape[1] == 1:
            return np.ones(tree_T.size, np.bool_)
        top_T2 = np.partition(visits_TA, -2, axis=1)[:, -2:]
        result: Bools = top_T2[:, 1] - top_T2[:, 0] > search.left_B()[tree_T]
        return result

    def conclude(self, search: Search) -> Choice:
        """Most visited action; the policy target is the share of visits."""
        return with_solved(search, by_visits(search))
