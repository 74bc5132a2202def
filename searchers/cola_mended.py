"""CoLA's MCTS-Q search with its rules mended."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from colasearch.searchers.cola_reference import ColaReference
from colasearch.searchers.programs import Branch


@dataclass(frozen=True, kw_only=True)
class ColaMended(ColaReference):
    """``cola_reference`` with these rules mended.

    - *Prior.* The policy's own. Published, the k-th child has the probability that is left over after the k - 1 before
      it, so that improbable actions get priors near 1.
    - *Gate.* ``(r + γ max_a' Q(s', a') - Q(s, a))²`` with the reward ``r`` of the step and the world's discount, asked
      again at every further step: the edge ends where a choice begins to matter. Published, one test at the first step
      lets 64 steps pass.
    - *Depth.* No limit; the text's own length is one.

    Source: the rules of ``cola_reference``, changed as said. Cost and budget as there. When to use: to see what of a
    difference to the published method is due to its rules.

    Attributes:
        depth: As there; by default larger than any text.
        gamma: Not used: the discount is the world's.
    """

    name: ClassVar[str] = "cola_mended"

    depth: int = 1 << 30

    def _priors(self, branch: Branch, node: int, actions: list[int]) -> list[float]:
        return [float(branch.prior(node)[action]) for action in actions]

    def _td_error(self, branch: Branch, node: int, action: int, child: int) -> float | None:
        q_A, after_A = branch.q(node), branch.q(child)
        if q_A is None or after_A is None:
            return None
        ahead = branch.search.tree.discount * after_A[branch.prior(child) > 0].max()
        return float(branch.reward(child) + ahead - q_A[action])

    def _goes_on(self, branch: Branch, node: int, action: int, child: int) -> bool:
        return self._consistent(branch, node, action, child)
