"""The search tree as arrays: all trees of a batch side by side, nodes as slots, actions as columns.

Knows nothing about selection rules, budgets or models. Arrays have the axes ``_B`` tree, ``_N`` node slot and
``_A`` action; slot 0 is the root. Methods address nodes by *row*, ``tree * capacity + slot``, so that one flat
index reaches a node whatever its tree; a row is valid until the tree grows, a slot for ever.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

Floats = npt.NDArray[np.float64]
Ints = npt.NDArray[np.int64]
Bools = npt.NDArray[np.bool_]
States = npt.NDArray[Any]

FIRST_CAPACITY = 512
"""Slots allocated at first; the arrays double when a tree needs more."""

_FILL = {"parents_BN": -1, "actions_BN": -1, "children_BNA": -1}
"""What unused slots hold, where it is not 0."""


class Tree:
    """Arrays of ``B`` search trees with ``A`` actions at each node.

    Attributes:
        size_B: Slots in use, root included.
        open_B: Legal edges of unfinished nodes that have no child yet; 0 means the tree is fully explored.
        parents_BN: Parent slot; ``NO_PARENT`` at the root and in unused slots.
        actions_BN: Action on the edge from the parent.
        depths_BN: Edges between the root and the node.
        visits_BN: Backups that went through the node, its own evaluation included.
        values_BN: Backed-up value, the expected discounted reward from here on; 0 at a terminal node.
        means_BN: Running mean of the returns seen; equals ``values_BN`` under mean backup.
        raw_values_BN: The world's value estimate, never changed by backups.
        rewards_BN: Reward of the edge that leads to the node.
        finished_BN: The node is never continued: terminal, at the depth cap, or without a legal action.
        closed_BN: Finished, or nothing is left to explore below; kept by searches that do not revisit.
        logits_BNA: Prior logits, shifted so that the largest is 0; ``-inf`` marks illegal actions.
        prior_BNA: Softmax of the logits.
        children_BNA: Child slot; ``UNVISITED`` where there is none yet.
        edge_visits_BNA: Backups that went through the edge.
        q_BNA: ``reward + discount * value`` of the child; 0 for unvisited edges.
        in_flight_BNA: Leaves asked for below the edge whose results are not in yet.
        next_BN: Action that the selection rule takes at the node when the next simulation comes by.
        states_BN: The world's states, slot by slot (trailing axes are the world's own).
        backups: Trees and slots at which backups began, one pair a call of ``back_up``, in order.
    """

    NO_PARENT = -1
    UNVISITED = -1
    ROOT = 0

    def __init__(self, num_trees: int, num_actions: int, discount: float, capacity: int = FIRST_CAPACITY) -> None:
        self.num_trees, self.num_actions, self.capacity = num_trees, num_actions, capacity
        self.discount = discount
        self.size_B = np.zeros(num_trees, np.int64)
        self.open_B = np.zeros(num_trees, np.int64)
        nodes, edges = (num_trees, capacity), (num_trees, capacity, num_actions)
        self.parents_BN = np.full(nodes, self.NO_PARENT, np.int64)
        self.actions_BN = np.full(nodes, -1, np.int64)
        self.depths_BN = np.zeros(nodes, np.int64)
        self.visits_BN = np.zeros(nodes)
        self.values_BN = np.zeros(nodes)
        self.means_BN = np.zeros(nodes)
        self.raw_values_BN = np.zeros(nodes)
        self.rewards_BN = np.zeros(nodes)
        self.finished_BN = np.zeros(nodes, np.bool_)
        self.closed_BN = np.zeros(nodes, np.bool_)
        self.next_BN = np.zeros(nodes, np.int64)
        self.logits_BNA = np.zeros(edges)
        self.prior_BNA = np.zeros(edges)
        self.children_BNA = np.full(edges, self.UNVISITED, np.int32)
        self.edge_visits_BNA = np.zeros(edges)
        self.q_BNA = np.zeros(edges)
        self.in_flight_BNA = np.zeros(edges, np.int32)
        self.states_BN: States | None = None
        self.backups: list[tuple[Ints, Ints]] = []
        self._view()

    def _view(self) -> None:
        """Make the flat views: ``*_R`` over nodes, ``*_RA`` over nodes by actions, ``*_E`` over edges."""
        self.parents_R, self.actions_R = self.parents_BN.reshape(-1), self.actions_BN.reshape(-1)
        self.depths_R, self.visits_R = self.depths_BN.reshape(-1), self.visits_BN.reshape(-1)
        self.values_R, self.means_R = self.values_BN.reshape(-1), self.means_BN.reshape(-1)
        self.raw_values_R, self.rewards_R = self.raw_values_BN.reshape(-1), self.rewards_BN.reshape(-1)
        self.finished_R, self.next_R = self.finished_BN.reshape(-1), self.next_BN.reshape(-1)
        self.closed_R = self.closed_BN.reshape(-1)
        by_action = (-1, self.num_actions)
        self.logits_RA, self.prior_RA = self.logits_BNA.reshape(by_action), self.prior_BNA.reshape(by_action)
        self.edge_visits_RA, self.q_RA = self.edge_visits_BNA.reshape(by_action), self.q_BNA.reshape(by_action)
        self.in_flight_RA = self.in_flight_BNA.reshape(by_action)
        self.children_E, self.edge_visits_E = self.children_BNA.reshape(-1), self.edge_visits_BNA.reshape(-1)
        self.q_E, self.in_flight_E = self.q_BNA.reshape(-1), self.in_flight_BNA.reshape(-1)

    def reserve(self, slots: int) -> None:
        """Make room for ``slots`` nodes a tree; doubling keeps the cost of a node constant."""
        if slots <= self.capacity:
            return
        capacity = max(slots, 2 * self.capacity)
        for name, old in list(vars(self).items()):
            if not name.endswith(("_BN", "_BNA")) or old is None:
                continue
            new = np.zeros((self.num_trees, capacity, *old.shape[2:]), old.dtype)
            if name in _FILL:
                new.fill(_FILL[name])
            new[:, : self.capacity] = old
            setattr(self, name, new)
        self.capacity = capacity
        self._view()

    def add(
        self,
        tree_L: Ints,
        parent_L: Ints,
        action_L: Ints,
        states: States,
        reward_L: Floats,
        finished_L: Bools,
        logits_LA: Floats,
        value_L: Floats,
    ) -> Ints:
        """Append one node to each tree of ``tree_L`` (no tree twice) and return the new slots ``[L]``.

        ``parent_L`` of ``NO_PARENT`` makes a root. The nodes start with no visit; ``value_L`` is what a backup
        from the node starts with (0 for terminal nodes). Finished nodes get no legal action.
        """
        slot_L = self.size_B[tree_L]
        self.reserve(int(slot_L.max(initial=0)) + 1)
        if self.states_BN is None:
            self.states_BN = np.zeros((self.num_trees, self.capacity, *states.shape[1:]), states.dtype)
        row_L = tree_L * self.capacity + slot_L
        self.states_BN[tree_L, slot_L] = states
        self.size_B[tree_L] += 1
        self.parents_R[row_L], self.actions_R[row_L] = parent_L, action_L
        self.rewards_R[row_L], self.finished_R[row_L] = reward_L, finished_L
        self.raw_values_R[row_L] = self.values_R[row_L] = self.means_R[row_L] = value_L
        logits_LA, prior_LA, legal_L = _normalise(logits_LA, finished_L)
        self.logits_RA[row_L], self.prior_RA[row_L] = logits_LA, prior_LA
        self.next_R[row_L] = logits_LA.argmax(axis=1)
        self.open_B[tree_L] += legal_L
        if parent_L.size and parent_L[0] != self.NO_PARENT:
            parent_row_L = tree_L * self.capacity + parent_L
            self.depths_R[row_L] = self.depths_R[parent_row_L] + 1
            self.children_E[parent_row_L * self.num_actions + action_L] = slot_L
            self.open_B[tree_L] -= 1
        return slot_L

    def merge(self, tree: int, node: int, action: int, into: int) -> None:
        """Make ``action`` of a node an alias of its visited action ``into``, which gets both priors.

        The alias becomes illegal but leads to the same child.
        """
        logits_A, prior_A = self.logits_BNA[tree, node], self.prior_BNA[tree, node]
        logits_A[into] = np.logaddexp(logits_A[into], logits_A[action])
        prior_A[into] += prior_A[action]
        logits_A[action], prior_A[action] = -np.inf, 0.0
        logits_A -= logits_A.max()
        self.children_BNA[tree, node, action] = self.children_BNA[tree, node, into]
        self.open_B[tree] -= 1

    def closed_edges(self, row_R: Ints) -> Bools:
        """Edges of rows that lead to closed nodes, ``[R, A]``."""
        child_RA = self.children_BNA.reshape(-1, self.num_actions)[row_R]
        first_R1 = (row_R - row_R % self.capacity)[:, None]
        closed_RA: Bools = (child_RA >= 0) & self.closed_R[first_R1 + np.maximum(child_RA, 0)]
        return closed_RA

    def close(self, row_R: Ints) -> list[Ints]:
        """Close nodes, and those above them that are left with nothing to explore; returns rows with closed edges."""
        changed: list[Ints] = []
        while row_R.size:
            self.closed_R[row_R] = True
            parent_R = self.parents_R[row_R]
            above_R = parent_R != self.NO_PARENT
            row_R = np.unique((row_R - row_R % self.capacity + parent_R)[above_R])
            changed.append(row_R)
            row_R = row_R[self.nothing_left(row_R)]
        return changed

    def nothing_left(self, row_R: Ints) -> Bools:
        """Rows all whose legal actions lead to closed nodes, ``[R]``."""
        legal_RA = self.logits_RA[row_R] > -np.inf
        nothing_R: Bools = np.all(self.closed_edges(row_R) | ~legal_RA, axis=1)
        return nothing_R

    def simulations(self, tree: int) -> list[int]:
        """Slots at which the simulations of a tree ended, in order; those before a subtree was reused left out."""
        found = [node_L[tree_L == tree] for tree_L, node_L in self.backups]
        return [int(slot) for slots in found for slot in slots]

    def path(self, tree: int, slot: int) -> list[int]:
        """Actions from the root to a node."""
        actions: list[int] = []
        while slot != self.ROOT:
            actions.append(int(self.actions_BN[tree, slot]))
            slot = int(self.parents_BN[tree, slot])
        return actions[::-1]


def _normalise(logits_LA: Floats, finished_L: Bools) -> tuple[Floats, Floats, Ints]:
    """Shifted logits, their softmax, and the number of legal actions; finished rows have none."""
    if finished_L.any():
        logits_LA = np.where(finished_L[:, None], -np.inf, logits_LA)
    top_L1 = logits_LA.max(axis=1, keepdims=True)
    if finished_L.any():
        top_L1 = np.where(np.isneginf(top_L1), 0.0, top_L1)
    logits_LA = logits_LA - top_L1
    prior_LA = np.exp(logits_LA)
    total_L1 = prior_LA.sum(axis=1, keepdims=True)
    prior_LA /= np.where(total_L1 > 0, total_L1, 1.0)
    return logits_LA, prior_LA, np.count_nonzero(logits_LA > -np.inf, axis=1)
