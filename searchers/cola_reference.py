"""CoLA's MCTS-Q search as its paper's code means it, as a named baseline."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import ClassVar

from colasearch.problem import StopReason
from colasearch.searchers.options import at_least
from colasearch.searchers.outcome import Choice
from colasearch.searchers.programs import Branch, Program, Programs, by_paths
from colasearch.searchers.search import Search


@dataclass(frozen=True, kw_only=True)
class ColaReference:
    """MCTS-Q: global best-first choice, and edges that go on while the value is consistent with itself.

    Each round takes, over *all* open nodes with fewer than ``b`` children, the one with the largest
    ``V(n) + c_puct · p(n) · √N(parent) / (N(n) + 1)``, and gives it all its ``b`` children: its actions of largest
    prior. After an edge with TD error ``δ = r + γV(s') - V(s)``, ``δ² < td_threshold`` means that nothing is decided
    there: the policy's best action extends the edge, up to ``chunk`` steps. ``p`` is the mean probability of the
    actions on the edge.

    Source: repository LAMDA-RL/CoLA, ``mcts_utils.py``. Done right here: values are the mean of returns, so that no
    reward counts twice; the prior is the policy's own and not renormalised over untried actions; finished and
    depth-capped nodes are never chosen, and none of them ends the search. Two things differ because a ``World`` has
    them differently: the TD error uses V in place of ``max_a Q``, and a leaf is worth the world's value where the
    original plays a rollout to the end. Cost O(nodes) a round. When to use: to compare with the published method.

    Attributes:
        c_puct: Weight of the prior.
        root_children: b at the root.
        node_children: b elsewhere.
        td_threshold: Bound on δ² below which an edge is extended; 0 never extends.
        chunk: Most steps by which an edge is extended.
    """

    name: ClassVar[str] = "cola_reference"

    c_puct: float = 0.7
    root_children: int = 5
    node_children: int = 4
    td_threshold: float = 0.01
    chunk: int = 64

    def __post_init__(self) -> None:
        """Check the options."""
        at_least("root_children", self.root_children, 1)
        at_least("node_children", self.node_children, 1)
        at_least("td_threshold", self.td_threshold, 0)
        at_least("chunk", self.chunk, 0)

    def start(self, search: Search) -> None:
        """Make ``search`` run this algorithm."""
        search.strategy = Programs(search, self._program)

    def _program(self, branch: Branch) -> Program:
        # open: node -> (prior of its edge, the open or expanded node its edge starts from)
        open_nodes: dict[int, tuple[float, int]] = {Branch.ROOT: (0.5, Branch.ROOT)}
        while open_nodes:
            node = max(open_nodes, key=lambda slot: (self._urgency(branch, slot, *open_nodes[slot]), -slot))
            del open_nodes[node]
            width = self.root_children if node == Branch.ROOT else self.node_children
            actions = branch.top_actions(node, width)
            yield [(node, action) for action in actions]
            edges: dict[int, list[float]] = {}
            for action in actions:
                edges.setdefault(branch.child(node, action), [float(branch.prior(node)[action])])
            growing = list(edges)
            for _ in range(self.chunk):
                growing = [tip for tip in growing if self._consistent(branch, tip)]
                if not growing:
                    break
                steps = [(tip, branch.top_actions(tip, 1)[0]) for tip in growing]
                yield steps
                growing = []
                for tip, action in steps:
                    further = branch.child(tip, action)
                    edges[further] = [*edges.pop(tip), float(branch.prior(tip)[action])]
                    growing.append(further)
            for tip, probabilities in edges.items():
                if branch.finished(tip):
                    branch.end(tip)
                else:
                    open_nodes[tip] = (sum(probabilities) / len(probabilities), node)
        return StopReason.EXHAUSTED

    def _urgency(self, branch: Branch, node: int, prior: float, start: int) -> float:
        visits = branch.visits(start) if node != Branch.ROOT else 1
        return branch.value(node) + self.c_puct * prior * math.sqrt(visits) / (branch.visits(node) + 1)

    def _consistent(self, branch: Branch, node: int) -> bool:
        """The edge into the node changed nothing that the value head had not foreseen."""
        if branch.finished(node):
            return False
        ahead = branch.reward(node) + branch.search.tree.discount * branch.raw_value(node)
        return (ahead - branch.raw_value(branch.parent(node))) ** 2 < self.td_threshold

    def conclude(self, search: Search) -> Choice:
        """The candidate with the best score."""
        return by_paths(search)
