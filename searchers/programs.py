"""Algorithms that are not descents (beam, rollouts, best-first, ...) as one generator a tree.

Such an algorithm is a generator that yields lists of edges ``(node, action)`` and is resumed once all of them
have a child in the tree. It reads the tree through :class:`Branch`. Edges that have a child already cost nothing.
What it does never depends on how many leaves are in flight, except for which edges a spent budget cuts off.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Generator

import numpy as np

from colasearch.errors import InputError
from colasearch.problem import StopReason
from colasearch.searchers.backup import back_up
from colasearch.searchers.noise import generator
from colasearch.searchers.outcome import Choice, by_visits
from colasearch.searchers.search import Search
from colasearch.searchers.tree import Floats, Ints, Tree

Edge = tuple[int, int]
Program = Generator[list[Edge], None, StopReason]
"""Yields edges to expand; returns why there is nothing left to do."""


class Branch:
    """One tree of the batch as a program sees it: by slot, with the root at slot 0.

    Attributes:
        ends: Finished nodes that the program counts as candidates, with how often it came to each.
    """

    ROOT = Tree.ROOT

    def __init__(self, search: Search, place: int) -> None:
        self.search, self.place = search, place
        self.ends: dict[int, int] = {}
        self._returns: list[float] = [0.0]

    def child(self, node: int, action: int) -> int:
        """Slot of the child, or -1."""
        return int(self.search.tree.children_BNA[self.place, node, action])

    def finished(self, node: int) -> bool:
        """The node is never continued."""
        return bool(self.search.tree.finished_BN[self.place, node])

    def finished_nodes(self) -> list[int]:
        """All nodes below the root that are never continued, the oldest first."""
        size = int(self.search.tree.size_B[self.place])
        return [int(node) for node in np.flatnonzero(self.search.tree.finished_BN[self.place, :size]) if node]

    def prior(self, node: int) -> Floats:
        """Action probabilities ``[A]``; 0 for illegal actions."""
        prior_A: Floats = self.search.tree.prior_BNA[self.place, node]
        return prior_A

    def value(self, node: int) -> float:
        """Backed-up value."""
        return float(self.search.tree.values_BN[self.place, node])

    def raw_value(self, node: int) -> float:
        """The world's estimate of the reward still to come; 0 at a terminal node."""
        return float(self.search.tree.raw_values_BN[self.place, node])

    def visits(self, node: int) -> int:
        """Backups through the node, its own evaluation included."""
        return int(self.search.tree.visits_BN[self.place, node])

    def parent(self, node: int) -> int:
        """Slot of the parent, -1 at the root."""
        return int(self.search.tree.parents_BN[self.place, node])

    def depth(self, node: int) -> int:
        """Steps from the root."""
        return int(self.search.tree.depths_BN[self.place, node])

    def q(self, node: int) -> Floats | None:
        """The world's Q-values ``[A]`` at the node; None in a world without any.

        Raises:
            InputError: The world's array does not have the contract's shape.
        """
        tree = self.search.tree
        assert tree.states_BN is not None
        given = None if self.search.q is None else self.search.q(tree.states_BN[self.place, node : node + 1])
        if given is None:
            return None
        q_BA: Floats = np.asarray(given, np.float64)
        if q_BA.shape != (1, tree.num_actions):
            raise InputError(
                f"world.q_BA gave shape {q_BA.shape} for 1 state and {tree.num_actions} actions; "
                f"return an array of shape (1, {tree.num_actions})"
            )
        row_A: Floats = q_BA[0]
        return row_A

    def reward(self, node: int) -> float:
        """Reward of the edge into the node."""
        return float(self.search.tree.rewards_BN[self.place, node])

    def score(self, node: int) -> float:
        """Discounted reward collected on the way plus the discounted estimate of what is to come."""
        tree = self.search.tree
        while len(self._returns) <= node:  # slots are in order of age, so a parent comes before its children
            new = len(self._returns)
            above = self.parent(new)
            weight = tree.discount ** float(tree.depths_BN[self.place, above])
            self._returns.append(self._returns[above] + weight * self.reward(new))
        weight = tree.discount ** float(tree.depths_BN[self.place, node])
        return float(self._returns[node] + weight * self.raw_value(node))

    def top_actions(self, node: int, count: int) -> list[int]:
        """Up to ``count`` legal actions of largest prior, best first, ties to the lower index."""
        logits_A = self.search.tree.logits_BNA[self.place, node]
        order = np.argsort(-logits_A, kind="stable")[:count]
        return [int(action) for action in order if logits_A[action] > -np.inf]

    def draw(self, node: int, rng: np.random.Generator, temperature: float = 1.0) -> int:
        """An action drawn from ``softmax(logits / temperature)``."""
        weights_A = self.prior(node) ** (1 / temperature)
        sums_A = np.cumsum(weights_A)
        place = int(np.searchsorted(sums_A, rng.random() * sums_A[-1], side="right"))
        # Rounding may put the draw past the end; the last action with weight is the one meant.
        return min(place, int(np.flatnonzero(weights_A)[-1]))

    def end(self, node: int) -> None:
        """Count a finished node as a candidate once more."""
        self.ends[node] = self.ends.get(node, 0) + 1

    def first_action(self, node: int) -> int:
        """First action on the way from the root to the node; -1 for the root."""
        action = -1
        while node != Tree.ROOT:
            action = int(self.search.tree.actions_BN[self.place, node])
            node = self.parent(node)
        return action

    def rng(self, purpose: str) -> np.random.Generator:
        """Generator keyed by (run seed, problem, purpose)."""
        return generator(self.search.seed, self.search.keys[self.place], purpose)


class Programs:
    """Strategy that runs one program a tree.

    Raises:
        InputError: The discount is negative; path scores mean nothing between two players.
    """

    def __init__(self, search: Search, program: Callable[[Branch], Program]) -> None:
        if search.tree.discount < 0:
            raise InputError(
                f"discount {search.tree.discount} is negative (two players), but this algorithm scores whole paths; "
                "use gumbel, puct, uct or widening"
            )
        self.search = search
        self.branches = [Branch(search, place) for place in range(search.tree.num_trees)]
        self._programs = [program(branch) for branch in self.branches]
        self._queues: list[deque[Edge]] = [deque() for _ in self.branches]

    def gather(self, tree_T: Ints) -> None:
        """Hand out queued edges, resuming programs whose edges are all in."""
        waves: list[list[tuple[int, int, int]]] = [[] for _ in range(self.search.leaves_in_flight)]
        left_B = self.search.left_B()
        for place in tree_T.tolist():
            asked: set[Edge] = set()
            most = min(self.search.leaves_in_flight, int(left_B[place]))
            while len(asked) < most:
                edge = self._next_edge(place, asked)
                if edge is None:
                    break
                waves[len(asked)].append((place, *edge))
                asked.add(edge)
        for wave in waves:
            if wave:
                tree_L, node_L, action_L = np.array(wave, np.int64).T
                self.search.request(tree_L, node_L, action_L)

    def _next_edge(self, place: int, asked: set[Edge]) -> Edge | None:
        """The next edge without a child; resumes the program only when nothing is in flight."""
        queue, branch = self._queues[place], self.branches[place]
        while True:
            while queue:
                edge = queue.popleft()
                if branch.child(*edge) == Tree.UNVISITED and edge not in asked:
                    return edge
            if asked:
                return None
            try:
                queue.extend(next(self._programs[place]))
            except StopIteration as end:
                self.search.stop(np.array([place]), end.value)
                return None

    def absorb(self, tree_L: Ints, node_L: Ints) -> None:
        """Keep visits and mean values, for value estimates and traces."""
        back_up(self.search.tree, tree_L, node_L)

    def settle(self, tree_T: Ints) -> None:
        """Nothing to prepare."""

    def drop(self, tree_L: Ints, node_L: Ints, action_L: Ints) -> None:
        """Nothing to undo."""


def branches_of(search: Search) -> list[Branch]:
    """The branches of a search whose strategy is :class:`Programs`."""
    assert isinstance(search.strategy, Programs)
    return search.strategy.branches


def best_end(branch: Branch) -> int:
    """The candidate with the best score, or without any the best-scored node; the earliest wins ties."""
    nodes = sorted(branch.ends) or range(1, int(branch.search.tree.size_B[branch.place]))
    return max(nodes, key=branch.score, default=Branch.ROOT)


def by_paths(search: Search, select: Callable[[Branch], int] = best_end) -> Choice:
    """Commit to the first action on the way to the selected node; the target is the share of root visits."""
    counted = by_visits(search)
    branches = branches_of(search)
    node_B = np.array([select(branch) for branch in branches], np.int64)
    first_B = np.array(
        [branch.first_action(int(node)) for branch, node in zip(branches, node_B, strict=True)], np.int64
    )
    return Choice(
        visits_BA=counted.visits_BA,
        policy_target_BA=counted.policy_target_BA,
        best_action_B=np.where(first_B < 0, counted.best_action_B, first_B),
        best_node_B=node_B,
        ends_B=[dict(branch.ends) for branch in branches],
    )
