"""PUCT: AlphaZero and MuZero's search."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar, Literal

import numpy as np

from colasearch.errors import InputError
from colasearch.searchers import rules
from colasearch.searchers.by_visits import ByVisits
from colasearch.searchers.descent import Descent
from colasearch.searchers.noise import generator
from colasearch.searchers.search import Search
from colasearch.searchers.tree import Floats, Ints


@dataclass(frozen=True, kw_only=True)
class Puct(ByVisits):
    """PUCT with MuZero's exploration term and scaled Q-values.

    Takes ``argmax Q̂ + P · (pb_c_init + ln((N + pb_c_base + 1)/pb_c_base)) · √N / (1 + n)``.

    Source: Schrittwieser et al. 2020, "Mastering Atari, Go, chess and shogi by planning with a learned model",
    appendix B; equal to mctx ``muzero_policy`` without its tie-breaking noise. Cost O(depth · A) a simulation.
    When to use: as the well-known baseline, with many simulations and a good value head. Its answer was reported
    to get worse on GSM8K as the budget grows where Gumbel gets better, so Gumbel is the default.

    Attributes:
        pb_c_init: c1 of the formula.
        pb_c_base: c2 of the formula.
        q_transform: ``by_parent_and_siblings`` scales Q by what the node has seen, ``by_min_max`` by
            ``min_value`` and ``max_value``.
        min_value: Least possible value; what an unvisited action counts as under ``by_min_max``.
        max_value: Greatest possible value.
        dirichlet_fraction: Weight of Dirichlet noise in the root prior, 0 (none) to 1; for self-play.
        dirichlet_alpha: Concentration of that noise.
    """

    name: ClassVar[str] = "puct"

    pb_c_init: float = 1.25
    pb_c_base: float = 19652.0
    q_transform: Literal["by_parent_and_siblings", "by_min_max"] = "by_parent_and_siblings"
    min_value: float = 0.0
    max_value: float = 1.0
    dirichlet_fraction: float = 0.0
    dirichlet_alpha: float = 0.3

    def __post_init__(self) -> None:
        """Check the options."""
        super().__post_init__()
        if self.q_transform not in ("by_parent_and_siblings", "by_min_max"):
            raise InputError(f"q_transform is {self.q_transform!r}; pass by_parent_and_siblings or by_min_max")
        if not self.max_value > self.min_value:
            raise InputError(
                f"max_value {self.max_value} is not above min_value {self.min_value}; pass the bounds of the value"
            )
        if not 0 <= self.dirichlet_fraction <= 1:
            raise InputError(f"dirichlet_fraction is {self.dirichlet_fraction}; pass a number from 0 to 1")

    def start(self, search: Search) -> None:
        """Make ``search`` run this algorithm."""
        if self.dirichlet_fraction:
            self._add_noise(search)
        search.strategy = Descent(search, self, self)

    def _add_noise(self, search: Search) -> None:
        tree = search.tree
        for place, key in enumerate(search.keys):
            legal_A = tree.logits_BNA[place, 0] > -np.inf
            if not legal_A.any():
                continue
            draw = generator(search.seed, key, "dirichlet").dirichlet(np.full(legal_A.size, self.dirichlet_alpha))
            draw = np.where(legal_A, draw, 0.0)
            prior_A = tree.prior_BNA[place, 0]
            mixed_A = (1 - self.dirichlet_fraction) * prior_A + self.dirichlet_fraction * draw / draw.sum()
            tree.prior_BNA[place, 0] = mixed_A
            with np.errstate(divide="ignore"):
                tree.logits_BNA[place, 0] = np.where(legal_A, np.log(np.maximum(mixed_A, 1e-300)), -np.inf)

    def _scores(self, search: Search, row_R: Ints) -> Floats:
        tree = search.tree
        edges = rules.edges_of(tree, row_R, search.leaves_in_flight > 1, self.loss)
        if self.q_transform == "by_min_max":
            scaled_RA = rules.q_by_min_max(edges, self.min_value, self.max_value)
        else:
            scaled_RA = rules.q_by_parent_and_siblings(tree, edges)
        scores_RA = rules.puct_scores(tree, edges, scaled_RA, self.pb_c_init, self.pb_c_base)
        return self._restrict(search, edges, rules.where_open(search.tree, edges, scores_RA, self.revisit))

    def _restrict(self, search: Search, edges: rules.Edges, scores_RA: Floats) -> Floats:
        """For variants that rule actions out."""
        return scores_RA

    def choose(self, search: Search, row_R: Ints) -> Ints:
        """See :class:`colasearch.searchers.descent.Rule`."""
        chosen_R: Ints = self._scores(search, row_R).argmax(axis=1)
        return chosen_R
