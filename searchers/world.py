"""The world that a searcher sees, and the one place where its answers are checked and brought into shape."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Protocol

import numpy as np
import numpy.typing as npt

from colasearch.errors import InputError
from colasearch.searchers.search import Evaluations
from colasearch.searchers.tree import Bools, Floats, Ints, States


class World(Protocol):
    """States, actions and what follows, for many trees at once; deterministic given (run seed, problem, path).

    ``states`` is any array-like of ints of the world's own making, first axis B. Priors are logits; ``-inf`` marks an
    illegal action. ``value_B`` estimates the discounted reward still to come, and is ignored for terminal states. An
    optional attribute ``discount`` (default 1; negative for two players) weighs each further step. Further optional
    methods are looked for by name:

    - ``tokens(states) -> count_B``: what making each state has cost, for token budgets;
    - ``equal_actions(states) -> group_BA``: actions of one group lead to the same child; they are merged into the
      group's first action and their priors summed;
    - ``answers(states) -> list``: a hashable answer for each finished state, for votes;
    - ``q_BA(states) -> q_BA``: for each action the expected discounted reward from taking it; anything for finished
      states. None where the world knows none.
    """

    def root(self, problems: Sequence[Any]) -> tuple[npt.ArrayLike, npt.ArrayLike, npt.ArrayLike]:
        """Return ``states, prior_logits_BA, value_B`` of the problems' first states."""

    def expand(
        self, states: States, actions: npt.NDArray[np.int64]
    ) -> tuple[npt.ArrayLike, npt.ArrayLike, npt.ArrayLike, npt.ArrayLike, npt.ArrayLike]:
        """Return ``states, reward_B, terminal_B, prior_logits_BA, value_B`` after the actions."""


def root_evaluations(world: World, problems: Sequence[Any]) -> Evaluations:
    """Evaluate the problems' first states.

    Raises:
        InputError: The world's arrays do not have the contract's shapes.
    """
    states, logits, value = world.root(problems)
    count = len(problems)
    logits_LA = np.asarray(logits, np.float64)
    if logits_LA.ndim != 2 or logits_LA.shape[0] != count or logits_LA.shape[1] < 1:
        raise InputError(
            f"world.root gave prior logits of shape {logits_LA.shape} for {count} problems; "
            f"return an array of shape ({count}, number of actions)"
        )
    first_states = _states("root", states, count)
    return Evaluations(
        first_states,
        np.zeros(count),
        np.zeros(count, np.bool_),
        _merged(world, first_states, logits_LA),
        _column("root", "values", value, count),
    )


def evaluations(world: World, states: States, actions: npt.NDArray[np.int64], num_actions: int) -> Evaluations:
    """Expand ``L`` edges in one call.

    Raises:
        InputError: The world's arrays do not have the contract's shapes.
    """
    new_states, reward, terminal, logits, value = world.expand(states, actions)
    count = len(actions)
    logits_LA = np.asarray(logits, np.float64)
    if logits_LA.shape != (count, num_actions):
        raise InputError(
            f"world.expand gave prior logits of shape {logits_LA.shape} for {count} rows and {num_actions} actions; "
            f"return an array of shape {(count, num_actions)}"
        )
    terminal_L: Bools = _column("expand", "terminal flags", terminal, count) != 0
    after = _states("expand", new_states, count)
    return Evaluations(
        after,
        _column("expand", "rewards", reward, count),
        terminal_L,
        _merged(world, after, logits_LA),
        _column("expand", "values", value, count),
    )


def tokens_of(world: World, states: States) -> Ints:
    """Tokens that each state has cost, ``[L]``; the world must have the optional method ``tokens``."""
    count: Ints = _column("tokens", "counts", world.tokens(states), len(states)).astype(np.int64)  # type: ignore[attr-defined]
    return count


def _merged(world: World, states: States, logits_LA: Floats) -> Floats:
    """Logits with equal actions merged, if the world knows which are equal."""
    if not hasattr(world, "equal_actions"):
        return logits_LA
    group_LA = np.asarray(world.equal_actions(states))
    if group_LA.shape != logits_LA.shape:
        raise InputError(
            f"world.equal_actions gave shape {group_LA.shape}; return one group number an action, {logits_LA.shape}"
        )
    return merge_equal_actions(logits_LA, group_LA)


def merge_equal_actions(logits_LA: Floats, group_LA: npt.NDArray[Any]) -> Floats:
    """Give the first legal action of each group the group's whole probability and make the others illegal.

    Args:
        logits_LA: Prior logits; ``-inf`` marks illegal actions, which stay so.
        group_LA: Group of each action; groups of different rows are unrelated.
    """
    merged_LA = np.full_like(logits_LA, -np.inf)
    for row_A, group_A, out_A in zip(logits_LA, group_LA, merged_LA, strict=True):
        legal = np.flatnonzero(~(row_A == -np.inf))  # NaN is kept: it must stop the tree
        _, first, which = np.unique(group_A[legal], return_index=True, return_inverse=True)
        with np.errstate(invalid="ignore"):
            np.logaddexp.at(out_A, legal[first][which], row_A[legal])
    return merged_LA


def discount_of(world: World) -> float:
    """The world's discount, 1 if it has none.

    Raises:
        InputError: It is not a number in [-1, 1].
    """
    discount = float(getattr(world, "discount", 1.0))
    if not -1 <= discount <= 1:
        raise InputError(f"world.discount is {discount}; it must lie in [-1, 1]")
    return discount


def _states(method: str, states: npt.ArrayLike, count: int) -> States:
    array = np.asarray(states)
    if array.ndim < 1 or array.shape[0] != count:
        raise InputError(
            f"world.{method} gave states of shape {array.shape} for {count} rows; the first axis must be the row"
        )
    return array


def _column(method: str, what: str, values: npt.ArrayLike, count: int) -> Floats:
    array = np.array(values, np.float64)
    if array.size != count:
        raise InputError(f"world.{method} gave {what} of shape {array.shape} for {count} rows; return ({count},)")
    return array.reshape(count)
