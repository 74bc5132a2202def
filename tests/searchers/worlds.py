"""Worlds for tests: a random Markov decision process as tables, so that any implementation can run the same one."""

from __future__ import annotations

from typing import Any

import numpy as np

from colasearch.benchmarks.measurements.toy import KnownTrees as ExactMdp

__all__ = ["ExactMdp", "TableWorld"]


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
