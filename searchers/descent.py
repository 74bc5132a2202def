"""Monte-Carlo tree search as a strategy: descend to a leaf, ask for it, back its value up to the root.

What an algorithm adds is a :class:`Rule`: the action to take at a node and at the root. Since a rule's choice at a
node depends on that node alone, it is worked out once after each change (``Tree.next_BN``) rather than on the way
down; a descent then only follows pointers, and the rule runs once a round over the nodes of all paths together.
Cost of a simulation: O(depth) pointer steps and O(depth · A) arithmetic.
"""

from __future__ import annotations

from typing import Protocol

import numpy as np

from colasearch.problem import StopReason
from colasearch.searchers.backup import back_up
from colasearch.searchers.options import DescentOptions
from colasearch.searchers.search import Search
from colasearch.searchers.tree import Bools, Ints, Tree


class Rule(Protocol):
    """How one algorithm selects."""

    def choose(self, search: Search, row_R: Ints) -> Ints:
        """Action to take next at interior rows, ``[R]``."""

    def choose_root(self, search: Search, tree_T: Ints) -> Ints:
        """Action to take next at the roots of ``tree_T``, ``[T]``."""

    def may_go_on(self, search: Search, tree_T: Ints) -> Bools:
        """Trees that may put one more leaf in flight beside those already asked for, ``[T]``."""

    def decided(self, search: Search, tree_T: Ints) -> Bools:
        """Trees whose choice at the root no later simulation can change, ``[T]``."""


class Descent:
    """Strategy of all MCTS algorithms.

    Args:
        search: The search to run in.
        rule: The algorithm's selection rule.
        options: The algorithm's options. ``max_backup`` is λ in [0, 1]: the backed-up value is ``(1 - λ) · mean of
            returns + λ · max over visited children of r + γV``. 0 is plain MCTS and what training targets want; 1 suits
            deterministic worlds whose rewards are exact. Without ``revisit`` the rule must rule closed nodes out.
    """

    def __init__(self, search: Search, rule: Rule, options: DescentOptions) -> None:
        self.search, self.rule = search, rule
        self.max_backup, self.early_stop, self.revisit = options.max_backup, options.early_stop, options.revisit
        self.parallel = search.leaves_in_flight > 1
        self._touched: list[Ints] = []
        tree = search.tree
        tree_T = np.arange(tree.num_trees)
        inherited = np.flatnonzero((np.arange(tree.capacity) < tree.size_B[:, None]).ravel() & (tree.parents_R >= 0))
        if not self.revisit:
            tree.close(inherited[tree.finished_R[inherited]])
        if inherited.size:  # a reused subtree
            tree.next_R[inherited] = rule.choose(search, inherited)
        tree.next_BN[:, 0] = rule.choose_root(search, tree_T)

    def gather(self, tree_T: Ints) -> None:
        """Send as many simulations down each tree as it may have leaves in flight, within its budget.

        One that ends in a finished node needs no world and is backed up at once. What a tree does in a round depends
        on that tree alone, so it never depends on the batch.
        """
        search = self.search
        if self.early_stop:
            tree_T = self._stop_early(tree_T)
        if not self.revisit:
            tree_T = self._stop_closed(tree_T)
        for _ in range(search.leaves_in_flight):
            if not tree_T.size:
                return
            node_T, action_T, child_T = self._descend(tree_T)
            known_T = child_T != Tree.UNVISITED
            if known_T.any():
                again_T = tree_T[known_T]
                self._back_up(again_T, child_T[known_T])
                search.sims_B[again_T] += 1
                self._refresh(again_T)
            fresh_T = ~known_T
            if self.parallel:
                fresh_T &= search.tree.in_flight_BNA[tree_T, node_T, action_T] == 0
            if fresh_T.any():
                asked_T = tree_T[fresh_T]
                search.request(asked_T, node_T[fresh_T], action_T[fresh_T])
                if self.parallel:
                    self._fly(asked_T, node_T[fresh_T], action_T[fresh_T], 1)
                    self._refresh(asked_T)
            go_on_T = (known_T | fresh_T) & (search.left_B()[tree_T] > 0)
            tree_T = tree_T[go_on_T]
            if self.parallel and tree_T.size:
                tree_T = tree_T[self.rule.may_go_on(search, tree_T) | (search.asked_B[tree_T] == 0)]

    def _stop_early(self, tree_T: Ints) -> Ints:
        search = self.search
        idle_T = search.asked_B[tree_T] == 0
        solved_T = idle_T & (search.tree.open_B[tree_T] == 0)
        search.stop(tree_T[solved_T], StopReason.EXHAUSTED)
        decided_T = idle_T & ~solved_T & self.rule.decided(search, tree_T)
        search.stop(tree_T[decided_T], StopReason.EARLY)
        left_T: Ints = tree_T[~(solved_T | decided_T)]
        return left_T

    def _stop_closed(self, tree_T: Ints) -> Ints:
        search = self.search
        closed_T = (search.asked_B[tree_T] == 0) & search.tree.closed_BN[tree_T, Tree.ROOT]
        search.stop(tree_T[closed_T], StopReason.EXHAUSTED)
        left_T: Ints = tree_T[~closed_T]
        return left_T

    def _descend(self, tree_T: Ints) -> tuple[Ints, Ints, Ints]:
        """Follow ``next_BN`` from the roots to an edge without a child or into a finished node.

        Returns the slot and action of the last edge and its child, ``UNVISITED`` or the finished node's slot.
        """
        tree = self.search.tree
        base_T = tree_T * tree.capacity
        row_T = base_T.copy()
        action_T = tree.next_R[row_T]
        child_T = tree.children_E[row_T * tree.num_actions + action_T].astype(np.int64)
        place = np.flatnonzero((child_T >= 0) & ~tree.finished_R[base_T + child_T])
        while place.size:
            row = base_T[place] + child_T[place]
            action = tree.next_R[row]
            child = tree.children_E[row * tree.num_actions + action]
            row_T[place], action_T[place], child_T[place] = row, action, child
            place = place[(child >= 0) & ~tree.finished_R[base_T[place] + child]]
        slot_T: Ints = row_T - base_T
        return slot_T, action_T, child_T

    def absorb(self, tree_L: Ints, node_L: Ints) -> None:
        """Back the new leaves' values up to the root and take them out of flight."""
        tree = self.search.tree
        if self.parallel:
            self._fly(tree_L, tree.parents_BN[tree_L, node_L], tree.actions_BN[tree_L, node_L], -1)
        self._back_up(tree_L, node_L)
        if not self.revisit:
            row_L = tree_L * tree.capacity + node_L
            tree.close(row_L[tree.finished_R[row_L]])

    def drop(self, tree_L: Ints, node_L: Ints, action_L: Ints) -> None:
        """Take unusable or merged leaves out of flight."""
        if self.parallel:
            self._fly(tree_L, node_L, action_L, -1)
        row_L = tree_L * self.search.tree.capacity + node_L
        self._touched.append(row_L)
        if not self.revisit:  # a merged action may have been a node's last; then those above choose anew
            self._touched += self.search.tree.close(row_L[self.search.tree.nothing_left(row_L)])

    def settle(self, tree_T: Ints) -> None:
        """Choose anew at every node that the round has touched."""
        self._refresh(tree_T)

    def _fly(self, tree_L: Ints, node_L: Ints, action_L: Ints, change: int) -> None:
        """Add ``change`` to the in-flight counters of the edge and of all edges above it."""
        tree = self.search.tree
        base = tree_L * tree.capacity
        row, action = base + node_L, action_L
        while row.size:
            tree.in_flight_E[row * tree.num_actions + action] += change
            self._touched.append(row)
            parent, action = tree.parents_R[row], tree.actions_R[row]
            above = parent != Tree.NO_PARENT
            base, action = base[above], action[above]
            row = base + parent[above]

    def _back_up(self, tree_L: Ints, node_L: Ints) -> None:
        self._touched += back_up(self.search.tree, tree_L, node_L, self.max_backup)

    def _refresh(self, tree_T: Ints) -> None:
        """Let the rule choose anew at the rows touched since the last time; roots by their own rule."""
        tree = self.search.tree
        if self._touched:
            row_R = np.concatenate(self._touched)
            self._touched = []
            row_R = row_R[row_R % tree.capacity != 0]
            if self.parallel:
                row_R = np.unique(row_R)
            if row_R.size:
                tree.next_R[row_R] = self.rule.choose(self.search, row_R)
        tree.next_BN[tree_T, 0] = self.rule.choose_root(self.search, tree_T)
