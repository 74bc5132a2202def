"""Worlds that cost next to nothing: one to measure speed on, one whose best answers are known."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

Array = npt.NDArray[Any]


class ToyWorld:
    """A random Markov decision process; each problem is the number of the state it starts from.

    Stepping is one table look-up. Rewards are 0 but for steps into terminal states, which pay 0 to 1, and the value
    head is a noisy guess of nothing in particular: the toy has the shape of a search over texts, not its meaning.

    Attributes:
        discount: 1.
        next_SA: Successor of state and action.
        logits_SA: Prior logits.
        reward_SA: Rewards.
        value_S: Value estimates.
        terminal_S: Terminal states.
    """

    def __init__(self, seed: int = 0, *, states: int = 4096, actions: int = 64, terminal: float = 0.05) -> None:
        rng = np.random.default_rng(seed)
        self.discount = 1.0
        self.next_SA: Array = rng.integers(0, states, (states, actions))
        self.logits_SA: Array = 2.0 * rng.normal(size=(states, actions))
        self.value_S: Array = rng.random(states)
        self.terminal_S: Array = rng.random(states) < terminal
        self.terminal_S[0] = False
        self.reward_SA: Array = np.where(self.terminal_S[self.next_SA], rng.random((states, actions)), 0.0)

    def starts(self, count: int) -> list[int]:
        """``count`` problems; different ones as long as the table has enough states."""
        open_states = np.flatnonzero(~self.terminal_S)
        return [int(open_states[place % open_states.size]) for place in range(count)]

    def root(self, problems: Sequence[Any]) -> tuple[Array, Array, Array]:
        """See :class:`colasearch.searchers.World`."""
        states = np.array([int(problem) for problem in problems])
        return states, self.logits_SA[states], self.value_S[states]

    def expand(self, states: Array, actions: Array) -> tuple[Array, Array, Array, Array, Array]:
        """See :class:`colasearch.searchers.World`."""
        after = self.next_SA[states, actions]
        return (
            after,
            self.reward_SA[states, actions],
            self.terminal_S[after],
            self.logits_SA[after],
            self.value_S[after],
        )


class KnownTrees:
    """Full trees of ``actions ** depth`` paths whose optimal values are known by exhaustive enumeration.

    Problem i is the tree of seed i. A state is ``(tree, node)``: node 0 is the root, the children of node s are
    ``actions * s + 1 + a``. Each edge pays up to ``1 / depth``, so a path pays about 1 at most, and costs one token.
    The value head is the optimal value still to come plus noise. An answer is a path's pay in tenths.

    Args:
        trees: Number of trees, seeds 0 to ``trees - 1``.
        actions: Actions at each node.
        depth: Steps of each path.
        noise: Standard deviation of the value head's error.
        margin: Least lead of the best action at the root; it is paid more if need be.
        knowledge: How strongly the policy's logits follow the optimal values; 0 makes a policy that knows nothing.
    """

    discount = 1.0

    def __init__(
        self,
        trees: int,
        *,
        actions: int = 4,
        depth: int = 3,
        noise: float = 0.03,
        margin: float = 0.2,
        knowledge: float = 0.0,
    ) -> None:
        self.actions = actions
        self.inner = (actions**depth - 1) // (actions - 1)
        total = self.inner * actions + 1
        self.reward_BS, self.value_BS = np.zeros((trees, total)), np.zeros((trees, total))
        self.optimal_BS, self.logits_BSA = np.zeros((trees, total)), np.zeros((trees, total, actions))
        for tree in range(trees):
            rng = np.random.default_rng(tree)
            self.reward_BS[tree] = rng.random(total) / depth  # of the edge into each node
            q_SA = np.zeros((total, actions))
            for node in range(self.inner - 1, -1, -1):
                if node == 0:
                    second, first = np.sort(self.q_A(tree))[-2:]
                    best = 1 + self.q_A(tree).argmax()
                    self.reward_BS[tree, best] += max(0.0, margin - (first - second))
                q_SA[node] = self.q_A(tree, node)
                self.optimal_BS[tree, node] = q_SA[node].max()
            self.value_BS[tree] = np.maximum(self.optimal_BS[tree] + noise * rng.normal(size=total), 0)
            self.logits_BSA[tree] = 0.5 * rng.normal(size=(total, actions)) + knowledge * q_SA

    def q_A(self, tree: int, node: int = 0) -> Array:
        """Optimal value of each action at a node."""
        children = slice(self.actions * node + 1, self.actions * node + 1 + self.actions)
        values: Array = self.reward_BS[tree, children] + self.discount * self.optimal_BS[tree, children]
        return values

    def root(self, problems: Sequence[Any]) -> tuple[Array, Array, Array]:
        """See :class:`colasearch.searchers.World`."""
        trees = np.array(problems)
        return np.stack([trees, np.zeros_like(trees)], 1), self.logits_BSA[trees, 0], self.value_BS[trees, 0]

    def expand(self, states: Array, actions: Array) -> tuple[Array, Array, Array, Array, Array]:
        """See :class:`colasearch.searchers.World`."""
        trees, after = states[:, 0], self.actions * states[:, 1] + 1 + actions
        return (
            np.stack([trees, after], 1),
            self.reward_BS[trees, after],
            after >= self.inner,
            self.logits_BSA[trees, after],
            self.value_BS[trees, after],
        )

    def tokens(self, states: Array) -> Array:
        """One token a step."""
        return np.ones(len(states), np.int64)

    def answers(self, states: Array) -> list[int]:
        """Pay of the path to each state, in tenths."""
        return [int(10 * self.pay(int(tree), int(node))) for tree, node in states]

    def pay(self, tree: int, node: int) -> float:
        """Sum of rewards from the root to a node."""
        total = 0.0
        while node:
            total += self.reward_BS[tree, node]
            node = (node - 1) // self.actions
        return total
