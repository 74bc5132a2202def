"""PUCT with progressive widening: a node's choice grows with its visits."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from colasearch.searchers import rules
from colasearch.searchers.options import at_least
from colasearch.searchers.puct import Puct
from colasearch.searchers.search import Search
from colasearch.searchers.tree import Floats


@dataclass(frozen=True, kw_only=True)
class Widening(Puct):
    """PUCT in which only the ``⌈widening_factor · N^widening_exponent⌉`` actions of largest prior can be taken.

    Source: Coulom 2007, "Computing Elo ratings of move patterns", and Chaslot et al. 2008, "Progressive strategies
    for Monte-Carlo tree search". Cost O(depth · A log A) a simulation. When to use: a flat prior over many actions,
    where plain PUCT spends its simulations on width; useless if the prior is sharp.

    Attributes:
        widening_factor: k.
        widening_exponent: α in [0, 1].
    """

    name: ClassVar[str] = "widening"

    widening_factor: float = 2.0
    widening_exponent: float = 0.5

    def __post_init__(self) -> None:
        """Check the options."""
        super().__post_init__()
        at_least("widening_factor", self.widening_factor, 1)
        at_least("widening_exponent", self.widening_exponent, 0)

    def _restrict(self, search: Search, edges: rules.Edges, scores_RA: Floats) -> Floats:
        closed_RA = None if self.revisit else search.tree.closed_edges(edges.row_R)
        return rules.widened(search.tree, edges, scores_RA, self.widening_factor, self.widening_exponent, closed_RA)
