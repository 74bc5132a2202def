"""Worlds for tests: a random Markov decision process as tables, so that any implementation can run the same one."""

from __future__ import annotations

from typing import Any

import numpy as np


class TableWorld:
    """A random MDP: the state is a row of the tables; each problem (an int) is the state it starts from.

    ``next_SA``, ``logits_SA``, ``reward_SA``, ``value_S`` and ``terminal_S`` are the whole environment. Rewards and
    values lie in [0, 1] unless changed; with ``only_at_end`` only steps to terminal states are rewarded. Numbers are
    rounded to float32, so that a float32 peer sees the same ones.
    """

    def __init__(
        self,
        seed: int,
        *,
        states: int = 4096,
        actions: int = 64,
        discount: float = 1.0,
        terminal: float = 0.1,
        illegal: float = 0.2,
        sharpness: float = 2.0,
        rewards: tuple[float, float] = (0.0, 1.0),
        only_at_end: bool = False,
    ) -> None:
        rng = np.random.default_rng(seed)
        self.discount = discount
        self.next_SA = rng.integers(0, states, (states, actions))
        self.logits_SA = (sharpness * rng.normal(size=(states, actions))).astype(np.float32).astype(np.float64)
        legal_SA = rng.random((states, actions)) >= illegal
        legal_SA[np.arange(states), rng.integers(0, actions, states)] = True
        self.logits_SA[~legal_SA] = -np.inf
        low, high = rewards
        self.reward_SA = rng.uniform(low, high, (states, actions)).astype(np.float32).astype(np.float64)
        self.value_S = rng.random(states).astype(np.float32).astype(np.float64)
        self.terminal_S = rng.random(states) < terminal
        self.terminal_S[0] = False  # there is always a start
        if only_at_end:
            self.reward_SA[~self.terminal_S[self.next_SA]] = 0.0
        self.rows = 0
        self.calls = 0

    def root(self, problems: Any) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        states = np.array([int(getattr(problem, "start", problem)) for problem in problems])
        return states, self.logits_SA[states], self.value_S[states]

    def expand(self, states: np.ndarray, actions: np.ndarray) -> tuple[np.ndarray, ...]:
        self.rows += len(actions)
        self.calls += 1
        assert not self.terminal_S[states].any(), "a terminal state was continued"
        assert np.isfinite(self.logits_SA[states, actions]).all(), "an illegal action was taken"
        after = self.next_SA[states, actions]
        reward, terminal = self.reward_SA[states, actions], self.terminal_S[after]
        return after, reward, terminal, self.logits_SA[after], self.value_S[after]

    def starts(self, count: int) -> list[int]:
        """Problems that start in different states, none of them terminal."""
        return [int(state) for state in np.flatnonzero(~self.terminal_S)[:count]]


class ExactMdp:
    """Full trees of ``actions ** depth`` paths whose optimal values are known by exhaustive enumeration.

    Problem i is the tree of seed i. A state is ``(tree, node)``: node 0 is the root, the children of node s are
    ``actions * s + 1 + a``. Each edge pays up to ``1 / depth``; the value head is the optimal value to go plus noise,
    and the prior knows nothing. The best action at the root is at least ``margin`` better than the second, so that
    there is something to find.
    """

    discount = 1.0

    def __init__(
        self, seeds: int, *, actions: int = 4, depth: int = 3, noise: float = 0.03, margin: float = 0.2
    ) -> None:
        self.actions = actions
        self.inner = (actions**depth - 1) // (actions - 1)
        total = self.inner * actions + 1
        self.reward_BS, self.value_BS = np.zeros((seeds, total)), np.zeros((seeds, total))
        self.optimal_BS, self.logits_BSA = np.zeros((seeds, total)), np.zeros((seeds, total, actions))
        for seed in range(seeds):
            rng = np.random.default_rng(seed)
            self.reward_BS[seed] = rng.random(total) / depth  # of the edge into each node
            for node in range(self.inner - 1, -1, -1):
                if node == 0:
                    second, first = np.sort(self.q_A(seed))[-2:]
                    best = 1 + self.q_A(seed).argmax()
                    self.reward_BS[seed, best] += max(0.0, margin - (first - second))
                self.optimal_BS[seed, node] = self.q_A(seed, node).max()
            self.value_BS[seed] = np.maximum(self.optimal_BS[seed] + noise * rng.normal(size=total), 0)
            self.logits_BSA[seed] = 0.5 * rng.normal(size=(total, actions))

    def q_A(self, seed: int, node: int = 0) -> np.ndarray:
        """Optimal value of each action at a node, by enumeration."""
        children = slice(self.actions * node + 1, self.actions * node + 1 + self.actions)
        return self.reward_BS[seed, children] + self.discount * self.optimal_BS[seed, children]

    def root(self, problems: Any) -> Any:
        trees = np.array(problems)
        return np.stack([trees, np.zeros_like(trees)], 1), self.logits_BSA[trees, 0], self.value_BS[trees, 0]

    def expand(self, states: np.ndarray, actions: np.ndarray) -> Any:
        trees, after = states[:, 0], self.actions * states[:, 1] + 1 + actions
        return (
            np.stack([trees, after], 1),
            self.reward_BS[trees, after],
            after >= self.inner,
            self.logits_BSA[trees, after],
            self.value_BS[trees, after],
        )
