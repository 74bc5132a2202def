"""Ask/tell: a search in progress over a batch of trees, whatever the algorithm.

``ask`` gives the leaves to expand next, ``tell`` takes their evaluations in any order, any grouping, any number
of times. A tree moves on when all leaves asked of it are told, and takes them in in the order in which it asked,
so its contents depend on neither the order of telling nor on the other trees. Knows nothing about how leaves are
chosen (that is the :class:`Strategy`), worlds, clocks or threads.
"""

from __future__ import annotations

from collections.abc import Callable, Hashable, Sequence
from dataclasses import dataclass
from typing import Protocol

import numpy as np
import numpy.typing as npt

from colasearch.problem import StopReason
from colasearch.searchers.tree import Bools, Floats, Ints, States, Tree


@dataclass(frozen=True, slots=True)
class Leaves:
    """Edges to expand: ``L`` rows, several trees mixed, at most ``leaves_in_flight`` of one tree.

    Attributes:
        ticket_L: Names each leaf when its evaluation is told.
        tree_L: Index of the tree in the batch.
        node_L: Slot of the node to act at.
        action_L: Action to take there.
        states: The nodes' states ``[L, ...]``, for ``World.expand``.
    """

    ticket_L: Ints
    tree_L: Ints
    node_L: Ints
    action_L: Ints
    states: States

    def __len__(self) -> int:
        return len(self.ticket_L)


@dataclass(frozen=True, slots=True)
class Evaluations:
    """What ``World.expand`` says about ``L`` leaves; see :func:`colasearch.searchers.world.evaluations`."""

    states: States
    reward_L: Floats
    terminal_L: Bools
    logits_LA: Floats
    value_L: Floats

    def take(self, index: Ints | Bools) -> Evaluations:
        """The chosen rows."""
        return Evaluations(
            self.states[index],
            self.reward_L[index],
            self.terminal_L[index],
            self.logits_LA[index],
            self.value_L[index],
        )

    def usable(self) -> Bools:
        """Rows without NaN, without infinite reward or value, and without a ``+inf`` logit, ``[L]``."""
        fine_L = np.isfinite(self.reward_L) & np.isfinite(self.value_L)
        # A NaN or +inf anywhere makes the row's maximum NaN or +inf; -inf alone is an illegal action.
        result: Bools = fine_L & (self.logits_LA.max(axis=1) < np.inf)
        return result


class Strategy(Protocol):
    """What an algorithm does inside a :class:`Search`; holds whatever it needs to remember between calls."""

    def gather(self, tree_T: Ints) -> None:
        """Choose leaves for the idle trees ``tree_T`` and pass each to ``Search.request``.

        Simulations that need no world may be done on the spot. A tree for which nothing is requested and no simulation
        is done has nothing left to do; the strategy may say why with ``Search.stop``.
        """

    def absorb(self, tree_L: Ints, node_L: Ints) -> None:
        """Take in new nodes, at most one a tree, already added to the tree; ``node_L`` are their slots."""

    def settle(self, tree_T: Ints) -> None:
        """All leaves of ``tree_T`` are in, or dropped: get ready to gather again."""

    def drop(self, tree_L: Ints, node_L: Ints, action_L: Ints) -> None:
        """Forget requested leaves whose evaluation cannot be used; at most one a tree."""


@dataclass(slots=True)
class _Pending:
    """Leaves asked for and not yet taken in, in the order of asking."""

    ticket_P: Ints
    tree_P: Ints
    node_P: Ints
    action_P: Ints
    told_P: Bools
    result: Evaluations | None = None

    @classmethod
    def none(cls) -> _Pending:
        empty = np.zeros(0, np.int64)
        return cls(empty, empty, empty, empty, np.zeros(0, np.bool_))


class Search:
    """A batch of trees under one strategy.

    Attributes:
        tree: The array tree.
        sims: Simulations that each tree may do.
        sims_B: Simulations done.
        asked_B: Leaves in flight.
        expanded_B: Leaves told, i.e. rows that the world evaluated, the root not counted.
        stop_B: Why each tree stopped; None while it runs.
        leaves_in_flight: Most leaves that one tree may ask for at a time.
        answers: The world's answers of finished states, if it gives any.
        q: The world's Q-values of states, if it gives any.
    """

    def __init__(
        self,
        root: Evaluations,
        *,
        keys: Sequence[str],
        seed: int,
        sims: int,
        discount: float = 1.0,
        leaves_in_flight: int = 1,
        max_depth: int | None = None,
        merge_equal_states: bool = False,
    ) -> None:
        num_trees, num_actions = root.logits_LA.shape
        self.tree = Tree(num_trees, num_actions, discount, capacity=max(2, min(sims + 1, 512)))
        self.keys, self.seed, self.sims = list(keys), seed, sims
        self.leaves_in_flight, self.max_depth = leaves_in_flight, max_depth
        self.merge_equal_states = merge_equal_states
        self.sims_B = np.zeros(num_trees, np.int64)
        self.asked_B = np.zeros(num_trees, np.int64)
        self.expanded_B = np.zeros(num_trees, np.int64)
        self.stop_B: list[StopReason | None] = [None] * num_trees
        self._running_B = np.ones(num_trees, np.bool_)
        self._pending = _Pending.none()
        self._requests: list[tuple[Ints, Ints, Ints]] = []
        self._next_ticket = 0
        self.strategy: Strategy | None = None
        self.answers: Callable[[States], Sequence[Hashable]] | None = None
        self.q: Callable[[States], npt.ArrayLike | None] | None = None
        self._plant(root)

    def _plant(self, root: Evaluations) -> None:
        usable_B = root.usable()
        every_B = np.arange(self.tree.num_trees)
        no_action_B = (root.logits_LA == -np.inf).all(axis=1)
        none_B = np.full(every_B.size, Tree.NO_PARENT)
        logits_BA = np.where(usable_B[:, None], root.logits_LA, 0.0)
        value_B = np.where(usable_B, root.value_L, 0.0)
        self.tree.add(every_B, none_B, none_B, root.states, np.zeros(every_B.size), no_action_B, logits_BA, value_B)
        self.tree.visits_BN[:, 0] = 1
        self.stop(np.flatnonzero(~usable_B), StopReason.NAN)
        self.stop(np.flatnonzero(no_action_B & usable_B), StopReason.EXHAUSTED)

    # What a strategy calls.

    def request(self, tree_L: Ints, node_L: Ints, action_L: Ints) -> None:
        """Ask the world for the edges ``(node, action)``, none of which has a child; no tree twice in one call."""
        self._requests.append((tree_L, node_L, action_L))
        self.asked_B[tree_L] += 1

    def left_B(self) -> Ints:
        """Simulations that each tree may still start."""
        return self.sims - self.sims_B - self.asked_B

    def stop(self, tree_T: Ints, reason: StopReason) -> None:
        """End the trees ``tree_T``; the first reason given to a tree stays."""
        for tree in tree_T.tolist():
            if self.stop_B[tree] is None:
                self.stop_B[tree] = reason
        self._running_B[tree_T] = False

    # What a driver calls.

    def ask(self) -> Leaves:
        """Choose the next leaves of all trees that wait for nothing; empty when every such tree is done.

        Leaves already handed out are not repeated; :meth:`outstanding` gives them again.
        """
        assert self.strategy is not None
        self._requests = []
        while not self._requests:
            idle_B = self._running_B & (self.asked_B == 0)
            self.stop(np.flatnonzero(idle_B & (self.left_B() <= 0)), StopReason.BUDGET)
            idle_T = np.flatnonzero(idle_B & self._running_B)
            if not idle_T.size:
                break
            done_T = self.sims_B[idle_T]
            self.strategy.gather(idle_T)
            # A tree may have done simulations that end in finished nodes; one that did nothing has nothing to do.
            stuck_T = (self.asked_B[idle_T] == 0) & (self.sims_B[idle_T] == done_T)
            self.stop(idle_T[stuck_T], StopReason.EXHAUSTED)
        if not self._requests:
            empty = np.zeros(0, np.int64)
            return self._leaves(empty, empty, empty, empty)
        tree_L, node_L, action_L = (np.concatenate(part) for part in zip(*self._requests, strict=True))
        ticket_L = np.arange(self._next_ticket, self._next_ticket + tree_L.size)
        self._next_ticket += tree_L.size
        self._enqueue(ticket_L, tree_L, node_L, action_L)
        return self._leaves(ticket_L, tree_L, node_L, action_L)

    def outstanding(self) -> Leaves:
        """Leaves handed out and not yet told, in the order of asking; for a driver that lost its workers."""
        waiting = self._pending
        index = ~waiting.told_P
        return self._leaves(
            waiting.ticket_P[index], waiting.tree_P[index], waiting.node_P[index], waiting.action_P[index]
        )

    def _leaves(self, ticket_L: Ints, tree_L: Ints, node_L: Ints, action_L: Ints) -> Leaves:
        assert self.tree.states_BN is not None
        return Leaves(ticket_L, tree_L, node_L, action_L, self.tree.states_BN[tree_L, node_L])

    def _enqueue(self, ticket_L: Ints, tree_L: Ints, node_L: Ints, action_L: Ints) -> None:
        old = self._pending
        size = old.ticket_P.size
        told_P = np.concatenate([old.told_P, np.zeros(ticket_L.size, np.bool_)])
        fresh = _Pending(
            np.concatenate([old.ticket_P, ticket_L]),
            np.concatenate([old.tree_P, tree_L]),
            np.concatenate([old.node_P, node_L]),
            np.concatenate([old.action_P, action_L]),
            told_P,
        )
        if size and old.result is not None:
            fresh.result = _widen(old.result, told_P.size)
        self._pending = fresh

    def tell(self, ticket_L: Ints, evaluations: Evaluations) -> None:
        """Report evaluations of asked leaves; unknown and already told tickets are ignored.

        A tree takes its leaves in once all of them are told. A tree with an unusable evaluation (see
        ``Evaluations.usable``) keeps its other leaves and stops with ``StopReason.NAN``.
        """
        waiting = self._pending
        if not waiting.ticket_P.size:
            return
        ticket_L = np.asarray(ticket_L, np.int64)
        if not waiting.told_P.any() and np.array_equal(ticket_L, waiting.ticket_P):
            waiting.result = evaluations  # the usual case: one whole round at once
            waiting.told_P[:] = True
        else:
            self._tell_some(ticket_L, evaluations)
        missing_B = np.bincount(waiting.tree_P[~waiting.told_P], minlength=self.tree.num_trees)
        ready_P = missing_B[waiting.tree_P] == 0
        if ready_P.any():
            self._take_in(ready_P)

    def _tell_some(self, ticket_L: Ints, evaluations: Evaluations) -> None:
        waiting = self._pending
        place_L = np.searchsorted(waiting.ticket_P, ticket_L)
        place_L = np.minimum(place_L, waiting.ticket_P.size - 1)
        known_L = (waiting.ticket_P[place_L] == ticket_L) & ~waiting.told_P[place_L]
        _, first = np.unique(place_L, return_index=True)
        once_L = np.zeros(place_L.size, np.bool_)
        once_L[first] = True
        known_L &= once_L
        if waiting.result is None:
            waiting.result = _widen(evaluations.take(np.zeros(0, np.int64)), waiting.ticket_P.size)
        place_K, result = place_L[known_L], waiting.result
        result.states[place_K] = evaluations.states[known_L]
        result.reward_L[place_K] = evaluations.reward_L[known_L]
        result.terminal_L[place_K] = evaluations.terminal_L[known_L]
        result.logits_LA[place_K] = evaluations.logits_LA[known_L]
        result.value_L[place_K] = evaluations.value_L[known_L]
        waiting.told_P[place_K] = True

    def _take_in(self, ready_P: Bools) -> None:
        """Move the ready leaves into the trees, one leaf a tree at a time, in the order of asking."""
        assert self.strategy is not None
        waiting = self._pending
        assert waiting.result is not None
        if ready_P.all():
            tree_L, node_L, action_L, result = waiting.tree_P, waiting.node_P, waiting.action_P, waiting.result
            self._pending = _Pending.none()
        else:
            tree_L, node_L, action_L = waiting.tree_P[ready_P], waiting.node_P[ready_P], waiting.action_P[ready_P]
            result, keep = waiting.result.take(ready_P), ~ready_P
            self._pending = _Pending(
                waiting.ticket_P[keep], waiting.tree_P[keep], waiting.node_P[keep], waiting.action_P[keep],
                waiting.told_P[keep], waiting.result.take(keep),
            )  # fmt: skip
        # Rows must stay valid until the strategy has settled, so the trees grow now or not at all.
        self.tree.reserve(int((self.tree.size_B + np.bincount(tree_L, minlength=self.tree.num_trees)).max()))
        usable_L = result.usable()
        for index in _waves(tree_L, self.leaves_in_flight):
            good, bad = index[usable_L[index]], index[~usable_L[index]]
            if good.size:
                self._grow(tree_L[good], node_L[good], action_L[good], result.take(good))
            if bad.size:
                self.strategy.drop(tree_L[bad], node_L[bad], action_L[bad])
            self.asked_B[tree_L[index]] -= 1
            self.expanded_B[tree_L[index]] += 1
        self.strategy.settle(np.unique(tree_L))
        if not usable_L.all():
            self.stop(np.unique(tree_L[~usable_L]), StopReason.NAN)

    def _grow(self, tree_L: Ints, node_L: Ints, action_L: Ints, result: Evaluations) -> None:
        assert self.strategy is not None
        tree = self.tree
        if self.merge_equal_states:
            twin_L = self._merge(tree_L, node_L, action_L, result)
            tree_L, node_L, action_L = tree_L[~twin_L], node_L[~twin_L], action_L[~twin_L]
            result = result.take(~twin_L)
            if not tree_L.size:
                return
        finished_L = result.terminal_L | (result.logits_LA == -np.inf).all(axis=1)
        if self.max_depth is not None:
            finished_L |= tree.depths_BN[tree_L, node_L] + 1 >= self.max_depth
        # A terminal node is worth nothing beyond the reward of its edge, whatever the world's value head says.
        value_L = np.where(result.terminal_L, 0.0, result.value_L)
        slot_L = tree.add(
            tree_L, node_L, action_L, result.states, result.reward_L, finished_L, result.logits_LA, value_L
        )
        self.sims_B[tree_L] += 1
        self.strategy.absorb(tree_L, slot_L)

    def _merge(self, tree_L: Ints, node_L: Ints, action_L: Ints, result: Evaluations) -> Bools:
        """Merge leaves that equal a sibling into it; such a leaf costs a row of the world but no simulation."""
        assert self.strategy is not None
        tree = self.tree
        assert tree.states_BN is not None
        twin_L = np.zeros(tree_L.size, np.bool_)
        for place, (b, node, action) in enumerate(zip(tree_L, node_L, action_L, strict=True)):
            sibling_A = tree.children_BNA[b, node]
            for other in np.flatnonzero(sibling_A != Tree.UNVISITED):
                slot = sibling_A[other]
                if tree.logits_BNA[b, node, other] > -np.inf and (
                    np.array_equal(tree.states_BN[b, slot], result.states[place])
                    and tree.rewards_BN[b, slot] == result.reward_L[place]
                ):
                    tree.merge(int(b), int(node), int(action), int(other))
                    twin_L[place] = True
                    break
        if twin_L.any():
            self.strategy.drop(tree_L[twin_L], node_L[twin_L], action_L[twin_L])
        return twin_L


def _waves(tree_L: Ints, most: int) -> list[Ints]:
    """Split leaf indices so that each part has a tree at most once and keeps the order within a tree."""
    if most == 1:
        return [np.arange(tree_L.size)]
    order = np.argsort(tree_L, kind="stable")
    sorted_L = tree_L[order]
    first = np.searchsorted(sorted_L, sorted_L)
    rank = np.arange(tree_L.size) - first
    return [np.sort(order[rank == wave]) for wave in range(int(rank.max()) + 1)]


def _widen(result: Evaluations, size: int) -> Evaluations:
    """Room for ``size`` evaluations; rows that are new hold zeros."""

    def wide(array: States) -> States:
        new = np.zeros((size, *array.shape[1:]), array.dtype)
        new[: array.shape[0]] = array
        return new

    return Evaluations(
        wide(result.states),
        wide(result.reward_L),
        wide(result.terminal_L),
        wide(result.logits_LA),
        wide(result.value_L),
    )
