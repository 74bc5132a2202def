"""Beam search, diverse beam search and DVTS: level by level, the best-scored nodes go on."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from typing import ClassVar

from colasearch.errors import InputError
from colasearch.problem import StopReason
from colasearch.searchers.options import at_least
from colasearch.searchers.outcome import Choice
from colasearch.searchers.programs import Branch, Edge, Program, Programs, by_paths
from colasearch.searchers.search import Search


def children_of(branch: Branch, edges: list[Edge]) -> list[int]:
    """Slots of the edges' children, each once (merged actions share one)."""
    return list(dict.fromkeys(branch.child(*edge) for edge in edges))


def set_aside_finished(branch: Branch, nodes: list[int]) -> list[int]:
    """Count finished nodes as candidates and return the others; a finished text must not end the search."""
    for node in nodes:
        if branch.finished(node):
            branch.end(node)
    return [node for node in nodes if not branch.finished(node)]


@dataclass(frozen=True, kw_only=True)
class Beam:
    """Beam search guided by the world's values.

    Each level expands the ``branching`` actions of largest prior of each of ``width`` nodes and keeps the ``width``
    best scores, ``Σ γ^i r_i + γ^d V``. A finished node becomes a candidate and leaves its place to others.
    Source: Snell et al. 2024, "Scaling LLM test-time compute optimally", section 5. Cost ``width · branching``
    simulations a level, O(width · branching · log) arithmetic. When to use: a value head (PRM) that is right at
    every step, and hard problems; on easy ones it over-optimises the value head.

    Attributes:
        width: Nodes that go on at each level.
        branching: Actions tried at each.
    """

    name: ClassVar[str] = "beam"

    width: int = 4
    branching: int = 4

    def __post_init__(self) -> None:
        """Check the options."""
        at_least("width", self.width, 1)
        at_least("branching", self.branching, 1)

    def start(self, search: Search) -> None:
        """Make ``search`` run this algorithm."""
        search.strategy = Programs(search, self._program)

    def _program(self, branch: Branch) -> Program:
        frontier = [Branch.ROOT]
        while frontier:
            edges = [(node, action) for node in frontier for action in branch.top_actions(node, self.branching)]
            yield edges
            alive = set_aside_finished(branch, children_of(branch, edges))
            frontier = sorted(alive, key=branch.score, reverse=True)[: self.width]
        return StopReason.EXHAUSTED

    def conclude(self, search: Search) -> Choice:
        """The candidate with the best score."""
        return by_paths(search)


@dataclass(frozen=True, kw_only=True)
class DiverseBeam(Beam):
    """Beam search in ``groups`` groups that avoid each other's actions.

    Groups choose one after the other at each level; a node's score is lowered by ``diversity`` for each time an
    earlier group has taken the same action at this level (Hamming diversity). Source: Vijayakumar et al. 2016,
    "Diverse beam search". Cost as beam. When to use: beam search whose candidates all come out the same.

    Attributes:
        groups: Number of groups; must divide ``width``.
        diversity: Penalty λ, on the scale of the scores.
    """

    name: ClassVar[str] = "diverse_beam"

    groups: int = 2
    diversity: float = 0.1

    def __post_init__(self) -> None:
        """Check the options."""
        super().__post_init__()
        at_least("groups", self.groups, 1)
        at_least("diversity", self.diversity, 0)
        if self.width % self.groups:
            raise InputError(f"groups {self.groups} does not divide width {self.width}; pass a divisor of the width")

    def _program(self, branch: Branch) -> Program:
        frontiers = [[Branch.ROOT] for _ in range(self.groups)]
        share = self.width // self.groups
        while any(frontiers):
            edges_G = [
                [(node, action) for node in frontier for action in branch.top_actions(node, self.branching)]
                for frontier in frontiers
            ]
            yield [edge for edges in edges_G for edge in edges]
            taken: set[int] = set()
            used: Counter[int] = Counter()
            fresh = dict.fromkeys(child for edges in edges_G for child in children_of(branch, edges))
            alive = set(set_aside_finished(branch, list(fresh)))
            for group, edges in enumerate(edges_G):
                action_of = {branch.child(*edge): edge[1] for edge in reversed(edges)}
                ranked = sorted(
                    (node for node in action_of if node in alive and node not in taken),
                    key=lambda node: (branch.score(node) - self.diversity * used[action_of[node]], -node),
                    reverse=True,
                )
                frontiers[group] = ranked[:share]
                taken.update(frontiers[group])
                used.update(action_of[node] for node in frontiers[group])
        return StopReason.EXHAUSTED


@dataclass(frozen=True, kw_only=True)
class Dvts:
    """Diverse verifier tree search: independent subtrees, each a greedy walk by value.

    The ``subtrees · branching`` actions of largest prior at the root are dealt out in turn; then each subtree
    expands the ``branching`` actions of largest prior of its one node and keeps the best-scored child. Source:
    Beeching et al. 2024, "Scaling test-time compute with open models". Cost ``subtrees · branching`` simulations a
    level. When to use: larger budgets, where beam search collapses to one family of answers.

    Attributes:
        subtrees: Independent subtrees.
        branching: Actions tried at each step of each.
    """

    name: ClassVar[str] = "dvts"

    subtrees: int = 4
    branching: int = 4

    def __post_init__(self) -> None:
        """Check the options."""
        at_least("subtrees", self.subtrees, 1)
        at_least("branching", self.branching, 1)

    def start(self, search: Search) -> None:
        """Make ``search`` run this algorithm."""
        search.strategy = Programs(search, self._program)

    def _program(self, branch: Branch) -> Program:
        first = branch.top_actions(Branch.ROOT, self.subtrees * self.branching)
        edges_S: list[list[Edge]] = [
            [(Branch.ROOT, action) for action in first[subtree :: self.subtrees]] for subtree in range(self.subtrees)
        ]
        while any(edges_S):
            yield [edge for edges in edges_S for edge in edges]
            after: list[list[Edge]] = []
            for edges in edges_S:
                alive = set_aside_finished(branch, children_of(branch, edges))
                if alive:
                    node = max(alive, key=branch.score)
                    after.append([(node, action) for action in branch.top_actions(node, self.branching)])
            edges_S = after
        return StopReason.EXHAUSTED

    def conclude(self, search: Search) -> Choice:
        """The candidate with the best score."""
        return by_paths(search)
