"""Subtree reuse: after committing to a step, go on with what the search already knows below it."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

from colasearch.errors import InputError
from colasearch.searchers.options import at_least
from colasearch.searchers.registry import Algorithm
from colasearch.searchers.search import Evaluations, Search
from colasearch.searchers.tree import Ints, Tree
from colasearch.searchers.world import World, evaluations


def advance(
    algorithm: Algorithm, search: Search, world: World, action_B: npt.ArrayLike, *, sims: int, seed: int | None = None
) -> Search:
    """A new search whose roots are the children that ``action_B`` leads to.

    Everything below those children is kept: nodes, visits, values and priors, so the root visits of the new search are
    inherited visits plus ``sims``. Children that were never visited are evaluated by one call of the world. A root
    that is finished stops at once with ``StopReason.EXHAUSTED``. The step's reward is not part of the new values.

    Args:
        algorithm: As returned by ``begin``; started anew on the subtree.
        search: The search so far; not changed. Leaves in flight are forgotten.
        world: The world it runs in.
        action_B: Legal action to commit to, one a tree.
        sims: Simulations to do in addition to the inherited ones.
        seed: Seed of new randomness; by default the old seed plus 1, or root noise would repeat at every step.

    Raises:
        InputError: An action is out of range or illegal, or ``sims`` is below 1. Algorithms that are not descents
            (beam, rollouts, ...) start from scratch in the subtree and find its edges already paid for.
    """
    at_least("sims", sims, 1)
    old = search.tree
    step_B = np.asarray(action_B, np.int64)
    tree_B = np.arange(old.num_trees)
    if step_B.shape != tree_B.shape or ((step_B < 0) | (step_B >= old.num_actions)).any():
        raise InputError(f"action_B is {step_B.tolist()}; pass {old.num_trees} actions from 0 to {old.num_actions - 1}")
    child_B = old.children_BNA[tree_B, 0, step_B].astype(np.int64)
    illegal = (old.logits_BNA[tree_B, 0, step_B] == -np.inf) & (child_B == Tree.UNVISITED)
    if illegal.any():
        place = int(np.flatnonzero(illegal)[0])
        raise InputError(f"action {step_B[place]} of tree {place} is illegal; pass a legal one, e.g. best_action_B")
    first = _first_nodes(old, world, tree_B, child_B, step_B)
    new = Search(
        first,
        keys=search.keys,
        seed=search.seed + 1 if seed is None else seed,
        sims=sims,
        discount=old.discount,
        leaves_in_flight=search.leaves_in_flight,
        max_depth=None if search.max_depth is None else max(1, search.max_depth - 1),
        merge_equal_states=search.merge_equal_states,
    )
    new.answers, new.q = search.answers, search.q
    for place in np.flatnonzero(child_B != Tree.UNVISITED).tolist():
        _transplant(old, new.tree, place, int(child_B[place]))
    algorithm.start(new)
    return new


def _first_nodes(old: Tree, world: World, tree_B: Ints, child_B: Ints, step_B: Ints) -> Evaluations:
    """Evaluations of the new roots: from the tree, or from the world for children never visited."""
    assert old.states_BN is not None
    states: Any = old.states_BN[tree_B, child_B].copy()
    logits_BA = old.logits_BNA[tree_B, child_B].copy()
    value_B = old.raw_values_BN[tree_B, child_B].copy()
    missing = np.flatnonzero(child_B == Tree.UNVISITED)
    if missing.size:
        fresh = evaluations(world, old.states_BN[missing, 0], step_B[missing], old.num_actions)
        states[missing] = fresh.states
        logits_BA[missing] = np.where(fresh.terminal_L[:, None], -np.inf, fresh.logits_LA)
        value_B[missing] = np.where(fresh.terminal_L, 0.0, fresh.value_L)
    count = tree_B.size
    return Evaluations(states, np.zeros(count), np.zeros(count, np.bool_), logits_BA, value_B)


def _transplant(old: Tree, new: Tree, place: int, top: int) -> None:
    """Copy the subtree below slot ``top`` of one tree into the same tree of ``new``, in the order of age."""
    assert old.states_BN is not None
    size = int(old.size_B[place])
    slot_of = np.full(size + 1, Tree.UNVISITED, np.int64)  # the last entry maps UNVISITED to itself
    slot_of[top] = 0
    kept = [top]
    for slot in range(top + 1, size):
        if slot_of[old.parents_BN[place, slot]] != Tree.UNVISITED:
            slot_of[slot] = len(kept)
            kept.append(slot)
    new.reserve(len(kept))
    assert new.states_BN is not None
    count = len(kept)
    for name, array in vars(old).items():
        if name.endswith(("_BN", "_BNA")):
            getattr(new, name)[place, :count] = array[place, kept]
    new.children_BNA[place, :count] = slot_of[new.children_BNA[place, :count]]
    new.parents_BN[place, :count] = slot_of[new.parents_BN[place, :count]]
    new.parents_BN[place, 0], new.actions_BN[place, 0], new.rewards_BN[place, 0] = Tree.NO_PARENT, -1, 0.0
    new.depths_BN[place, :count] -= old.depths_BN[place, top]
    new.in_flight_BNA[place, :count] = 0
    new.size_B[place] = count
    unfinished = ~new.finished_BN[place, :count, None]
    legal = new.logits_BNA[place, :count] > -np.inf
    new.open_B[place] = np.count_nonzero(unfinished & legal & (new.children_BNA[place, :count] == Tree.UNVISITED))
