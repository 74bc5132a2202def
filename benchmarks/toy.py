"""A world that costs next to nothing, so that what is measured is the search: a random MDP held in tables."""

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
