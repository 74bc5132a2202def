"""What a search hands back."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from colasearch.problem import StopReason
from colasearch.searchers.search import Search
from colasearch.searchers.tree import Bools, Floats, Ints, States, Tree


@dataclass(frozen=True, slots=True)
class Choice:
    """What an algorithm concludes at the roots.

    Attributes:
        visits_BA: Root visit counts.
        policy_target_BA: What to train the policy on; rows sum to 1 (0 without a legal action).
        best_action_B: The action to commit to; -1 without a legal action.
    """

    visits_BA: Ints
    policy_target_BA: Floats
    best_action_B: Ints


@dataclass(frozen=True, slots=True)
class TreeView:
    """The finished trees as read-only arrays ``[B, N, ...]``, N the largest tree's size; slot 0 is the root.

    Attributes:
        size_B: Slots in use.
        children: ``[B, N, A]`` child slot, -1 where there is none.
        visits: ``[B, N]`` visits, the node's own evaluation included; 0 in unused slots.
        values: ``[B, N]`` backed-up value.
        raw_values: ``[B, N]`` the world's value estimate.
        rewards: ``[B, N]`` reward of the edge into the node.
        prior: ``[B, N, A]`` action probabilities.
        actions: ``[B, N]`` action from the parent, -1 at the root.
        parents: ``[B, N]`` parent slot, -1 at the root.
        depths: ``[B, N]`` edges from the root.
        finished: ``[B, N]`` terminal, at the depth cap or without a legal action.
        edge_visits: ``[B, N, A]`` visits of each edge.
        q: ``[B, N, A]`` reward + discount · value of the child; 0 for unvisited edges.
        states: ``[B, N, ...]`` the world's states.
    """

    size_B: Ints
    children: Ints
    visits: Ints
    values: Floats
    raw_values: Floats
    rewards: Floats
    prior: Floats
    actions: Ints
    parents: Ints
    depths: Ints
    finished: Bools
    edge_visits: Ints
    q: Floats
    states: States

    @classmethod
    def of(cls, tree: Tree) -> TreeView:
        """View of ``tree`` cut to its largest size."""
        size = int(tree.size_B.max(initial=1))
        assert tree.states_BN is not None
        return cls(
            size_B=tree.size_B.copy(),
            children=tree.children_BNA[:, :size].astype(np.int64),
            visits=tree.visits_BN[:, :size].astype(np.int64),
            values=tree.values_BN[:, :size],
            raw_values=tree.raw_values_BN[:, :size],
            rewards=tree.rewards_BN[:, :size],
            prior=tree.prior_BNA[:, :size],
            actions=tree.actions_BN[:, :size],
            parents=tree.parents_BN[:, :size],
            depths=tree.depths_BN[:, :size],
            finished=tree.finished_BN[:, :size],
            edge_visits=tree.edge_visits_BNA[:, :size].astype(np.int64),
            q=tree.q_BNA[:, :size],
            states=tree.states_BN[:, :size],
        )

    def path(self, tree: int, slot: int) -> list[int]:
        """Actions from the root to a slot."""
        actions: list[int] = []
        while slot > 0:
            actions.append(int(self.actions[tree, slot]))
            slot = int(self.parents[tree, slot])
        return actions[::-1]


@dataclass(frozen=True, slots=True)
class Outcome:
    """Result of ``run``.

    Attributes:
        visits_BA: Root visit counts, int.
        value_B: Backed-up root value.
        policy_target_BA: Training target of the policy at the root; rows sum to 1.
        best_action_B: Action to commit to; -1 for a root without a legal action.
        stop_B: Why each tree stopped.
        sims_B: Simulations done.
        expanded_B: Rows of ``World.expand`` that went into each tree.
        tree: The trees, for traces.
    """

    visits_BA: Ints
    value_B: Floats
    policy_target_BA: Floats
    best_action_B: Ints
    stop_B: list[StopReason]
    sims_B: Ints
    expanded_B: Ints
    tree: TreeView


def root_visits(search: Search) -> Ints:
    """Root visit counts ``[B, A]``."""
    return search.tree.edge_visits_BNA[:, 0].astype(np.int64)


def by_visits(search: Search) -> Choice:
    """Most visited action, ties to the larger prior; the target is the share of visits, or the prior if none."""
    tree = search.tree
    visits_BA = tree.edge_visits_BNA[:, 0]
    prior_BA = tree.prior_BNA[:, 0]
    total_B1 = visits_BA.sum(axis=1, keepdims=True)
    target_BA = np.where(total_B1 > 0, visits_BA / np.maximum(total_B1, 1), prior_BA)
    best_B = np.where(
        tree.logits_BNA[:, 0] == -np.inf,
        -np.inf,
        visits_BA + 0.5 * prior_BA,  # a prior is at most 1
    ).argmax(axis=1)
    return Choice(root_visits(search), target_BA, best_B)
