"""``run``: one call that runs any algorithm on any world."""

from __future__ import annotations

import time
from collections.abc import Callable, Hashable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from colasearch.errors import InputError
from colasearch.problem import StopReason
from colasearch.searchers.noise import problem_keys
from colasearch.searchers.options import at_least
from colasearch.searchers.outcome import Outcome
from colasearch.searchers.registry import Algorithm, make
from colasearch.searchers.search import Evaluations, Search
from colasearch.searchers.tree import States
from colasearch.searchers.world import World, discount_of, evaluations, root_evaluations, tokens_of


@dataclass(frozen=True, slots=True)
class Progress:
    """How far a run is, for ``on_round``.

    Attributes:
        sims: Simulations done, over all trees.
        sims_total: Simulations that all trees may do.
        active: Trees still running.
    """

    sims: int
    sims_total: int
    active: int


def begin(
    algorithm: str | Algorithm,
    world: World,
    problems: Sequence[Any],
    *,
    sims: int = 64,
    seed: int = 0,
    leaves_in_flight: int = 1,
    max_depth: int | None = None,
    merge_equal_states: bool = False,
    **options: Any,
) -> tuple[Algorithm, Search]:
    """Evaluate the roots and return the algorithm and its :class:`Search`, ready for ``ask`` and ``tell``.

    Arguments and errors as in :func:`run`.
    """
    at_least("sims", sims, 1)
    at_least("leaves_in_flight", leaves_in_flight, 1)
    if max_depth is not None:
        at_least("max_depth", max_depth, 1)
    chosen = make(algorithm, options)
    search = start(
        chosen, root_evaluations(world, problems), problem_keys(problems), sims=sims, seed=seed,
        leaves_in_flight=leaves_in_flight, max_depth=max_depth, merge_equal_states=merge_equal_states,
        discount=discount_of(world), answers=getattr(world, "answers", None),
        q=getattr(world, "q_BA", None),
    )  # fmt: skip
    return chosen, search


def start(
    algorithm: Algorithm,
    roots: Evaluations,
    keys: Sequence[str],
    *,
    sims: int,
    seed: int,
    leaves_in_flight: int = 1,
    max_depth: int | None = None,
    merge_equal_states: bool = False,
    discount: float = 1.0,
    answers: Callable[[States], Sequence[Hashable]] | None = None,
    q: Callable[[States], npt.ArrayLike | None] | None = None,
) -> Search:
    """A search from roots that are evaluated already, for drivers that talk to the world themselves.

    Args:
        algorithm: The algorithm.
        roots: Evaluations of the roots, equal actions merged.
        keys: One key a root, which fixes its random numbers.
        sims: As in :func:`run`, like the next four.
        seed: See there.
        leaves_in_flight: See there.
        max_depth: See there.
        merge_equal_states: See there.
        discount: The world's discount.
        answers: The world's ``answers``, if it has that method.
        q: The world's ``q_BA``, if it has that method.
    """
    search = Search(
        roots,
        keys=keys,
        seed=seed,
        sims=sims,
        discount=discount,
        leaves_in_flight=leaves_in_flight,
        max_depth=max_depth,
        merge_equal_states=merge_equal_states,
    )
    search.answers, search.q = answers, q
    algorithm.start(search)
    return search


def conclude(algorithm: Algorithm, search: Search) -> Outcome:
    """The outcome of a search as it stands; leaves in flight do not count."""
    return Outcome.of(search, algorithm.conclude(search))


def drive(
    search: Search,
    world: World,
    *,
    max_seconds: float | None = None,
    max_tokens: int | None = None,
    on_round: Callable[[Progress], None] | None = None,
    should_stop: Callable[[], StopReason | None] | None = None,
) -> None:
    """Ask and tell until every tree has stopped. Arguments and errors as in :func:`run`."""
    deadline = None
    if max_seconds is not None:
        at_least("max_seconds", max_seconds, 0)
        deadline = time.monotonic() + max_seconds
    if max_tokens is not None:
        at_least("max_tokens", max_tokens, 1)
        if not hasattr(world, "tokens"):
            raise InputError("max_tokens needs a world with a method tokens(states); drop max_tokens or add it")
    num_trees = search.tree.num_trees
    tokens_B = np.zeros(num_trees, np.int64)
    while True:
        if max_tokens is not None:
            search.stop(np.flatnonzero(tokens_B >= max_tokens), StopReason.MAX_TOKENS)
        reason = should_stop() if should_stop is not None else None
        if reason is None and deadline is not None and time.monotonic() >= deadline:
            reason = StopReason.MAX_SECONDS
        if reason is not None:
            search.stop(np.arange(num_trees), reason)
            return
        leaves = search.ask()
        if not len(leaves):
            return
        results = evaluations(world, leaves.states, leaves.action_L, search.tree.num_actions)
        if max_tokens is not None:
            np.add.at(tokens_B, leaves.tree_L, tokens_of(world, results.states))
        search.tell(leaves.ticket_L, results)
        if on_round is not None:
            active = sum(reason is None for reason in search.stop_B)
            on_round(Progress(int(search.sims_B.sum()), search.sims * num_trees, active))


def run(
    algorithm: str | Algorithm,
    world: World,
    problems: Sequence[Any],
    *,
    sims: int = 64,
    seed: int = 0,
    leaves_in_flight: int = 1,
    max_depth: int | None = None,
    merge_equal_states: bool = False,
    max_seconds: float | None = None,
    max_tokens: int | None = None,
    on_round: Callable[[Progress], None] | None = None,
    should_stop: Callable[[], StopReason | None] | None = None,
    **options: Any,
) -> Outcome:
    """Search all problems in lock step: each round sends the leaves of all trees to the world in one call.

    Args:
        algorithm: Name in the registry (``gumbel``, ``puct``, ...) or an algorithm object.
        world: See :class:`colasearch.searchers.world.World`.
        problems: Passed to ``world.root``; an ``id`` attribute, else the place in the list, keys randomness, so a
            problem's result does not depend on which others are in the batch.
        sims: Simulations a tree, in addition to the evaluation of its root.
        seed: Run seed.
        leaves_in_flight: Most leaves a tree may have in one call; more makes fuller batches and a slightly
            different search. A tree asks for fewer where its rule comes back to a leaf that is in flight already.
        max_depth: Nodes this deep are never continued; they keep the world's value estimate.
        merge_equal_states: Merge an action into its sibling when both turn out to give the same state and reward. The
            discovery costs a row of the world but no simulation. A world that knows beforehand says so with
            ``equal_actions(states)``, at no cost.
        max_seconds: Wall-clock limit, looked at between calls of the world.
        max_tokens: Limit on each tree's tokens as counted by ``world.tokens(states)``; a tree may pass it by what one
            round costs.
        on_round: Called after each round.
        should_stop: Polled before each call of the world; a reason ends all trees with what they have.
        options: Options of the algorithm, or nothing if ``algorithm`` is an object.

    Returns:
        The outcome, valid even after 0 simulations.

    Raises:
        InputError: A bad option, or arrays from the world that do not have the contract's shapes.
    """
    chosen, search = begin(
        algorithm, world, problems, sims=sims, seed=seed, leaves_in_flight=leaves_in_flight, max_depth=max_depth,
        merge_equal_states=merge_equal_states, **options,
    )  # fmt: skip
    drive(search, world, max_seconds=max_seconds, max_tokens=max_tokens, on_round=on_round, should_stop=should_stop)
    return conclude(chosen, search)
