"""Backup: take a leaf's value up to the root.

Mean backup keeps the running mean of returns (Coulom 2006). Max backup takes the best visited child's
``r + γV`` instead, and λ mixes the two: ``V = (1 - λ) · mean + λ · max``. Terminal nodes are worth 0 beyond the
reward of their edge, so proven results arrive exactly. Cost O(depth), O(depth · A) with λ > 0.
"""

from __future__ import annotations

import numpy as np

from colasearch.searchers.tree import Floats, Ints, Tree


def back_up(tree: Tree, tree_L: Ints, node_L: Ints, max_backup: float = 0.0) -> list[Ints]:
    """Add one visit, and the leaf's value, to every node and edge from the leaf to the root.

    Args:
        tree: Changed in place.
        tree_L: Trees of the leaves, none twice.
        node_L: Slots of the leaves.
        max_backup: λ.

    Returns:
        Rows of the changed nodes above the leaves, one array a level.
    """
    tree.backups.append((tree_L, node_L))
    touched: list[Ints] = []
    base_L = tree_L * tree.capacity
    row_L = base_L + node_L
    return_L: Floats = tree.values_R[row_L]
    tree.visits_R[row_L] += 1
    while True:
        parent_L = tree.parents_R[row_L]
        above_L = parent_L != Tree.NO_PARENT
        if not above_L.all():
            base_L, row_L, parent_L = base_L[above_L], row_L[above_L], parent_L[above_L]
            return_L = return_L[above_L]
        if not row_L.size:
            return touched
        reward_L, action_L = tree.rewards_R[row_L], tree.actions_R[row_L]
        return_L = reward_L + tree.discount * return_L
        edge_value_L = reward_L + tree.discount * tree.values_R[row_L]
        row_L = base_L + parent_L
        edge_L = row_L * tree.num_actions + action_L
        tree.edge_visits_E[edge_L] += 1
        tree.q_E[edge_L] = edge_value_L
        visits_L = tree.visits_R[row_L]
        mean_L = (tree.means_R[row_L] * visits_L + return_L) / (visits_L + 1)
        tree.visits_R[row_L] = visits_L + 1
        tree.means_R[row_L] = mean_L
        tree.values_R[row_L] = _mix(tree, row_L, mean_L, max_backup) if max_backup else mean_L
        touched.append(row_L)


def _mix(tree: Tree, row_L: Ints, mean_L: Floats, max_backup: float) -> Floats:
    best_L = np.where(tree.edge_visits_RA[row_L] > 0, tree.q_RA[row_L], -np.inf).max(axis=1)
    mixed_L: Floats = (1 - max_backup) * mean_L + max_backup * best_L
    return mixed_L
