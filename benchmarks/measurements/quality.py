"""All searchers on worlds whose best answers are known, at equal tokens."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np

from colasearch.benchmarks.measurements.toy import KnownTrees
from colasearch.searchers import ALGORITHMS, run

SETTINGS: dict[str, dict[str, Any]] = {
    "gumbel, max backup": {"max_backup": 1.0},
    "puct, max backup": {"max_backup": 1.0},
}
"""Further rows beside each algorithm with its defaults; the part before the comma is the algorithm."""


@dataclass(frozen=True, slots=True)
class Quality:
    """How well one searcher does.

    Attributes:
        searcher: Algorithm and setting.
        tokens: Mean tokens spent on a tree; below the limit where the algorithm ended by itself.
        best_action: Share of trees whose best first action was chosen, 0 to 1.
        pay: Mean pay of the selected path as a share of the best path's, 0 to 1; an unfinished path counts 0.
        value_error: Mean distance of the root value from the optimal one.
    """

    searcher: str
    tokens: float
    best_action: float
    pay: float
    value_error: float

    def to_json(self) -> dict[str, Any]:
        """Fields by name."""
        return asdict(self)


def compare(*, trees: int, tokens: int, actions: int, depth: int, noise: float, knowledge: float) -> Iterator[Quality]:
    """Run every algorithm on the same trees with the same token limit."""
    world = KnownTrees(trees, actions=actions, depth=depth, noise=noise, margin=0.0, knowledge=knowledge)
    problems = list(range(trees))
    best_B = np.array([world.q_A(tree).argmax() for tree in problems])
    optimal_B = world.optimal_BS[:, 0]
    for name in [*ALGORITHMS, *SETTINGS]:
        out = run(
            name.split(",")[0],
            world,
            problems,
            sims=tokens,
            max_tokens=tokens,
            max_depth=depth,
            **SETTINGS.get(name, {}),
        )
        pay_B = np.zeros(trees)
        for tree, node in enumerate(out.best_node_B):
            if out.tree.finished[tree, node]:
                pay_B[tree] = world.pay(tree, int(out.tree.states[tree, node, 1]))
        yield Quality(
            searcher=name,
            tokens=float(out.expanded_B.mean()),
            best_action=float((out.best_action_B == best_B).mean()),
            pay=float((pay_B / optimal_B).mean()),
            value_error=float(np.abs(out.value_B - optimal_B).mean()),
        )
