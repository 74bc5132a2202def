"""What a search hands back."""

from __future__ import annotations

from dataclasses import dataclass, replace

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
        best_node_B: The node selected as the answer, finished if any is; None leaves it to the best return.
        ends_B: Finished nodes that count as candidates, with their counts; None means all, by visits.
    """

    visits_BA: Ints
    policy_target_BA: Floats
    best_action_B: Ints
    best_node_B: Ints | None = None
    ends_B: list[dict[int, int]] | None = None


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

    def scores(self, discount: float) -> Floats:
        """``[B, N]`` discounted reward on the way to each node plus the discounted estimate of what is to come."""
        collected: Floats = np.zeros(self.rewards.shape)
        every_B = np.arange(len(collected))
        for slot in range(1, len(self.rewards.T)):
            above_B = np.maximum(self.parents[:, slot], 0)
            weight_B = discount ** self.depths[every_B, above_B].astype(np.float64)
            collected[:, slot] = collected[every_B, above_B] + weight_B * self.rewards[:, slot]
        result: Floats = collected + discount ** self.depths.astype(np.float64) * self.raw_values
        return result

    def effective_branching(self) -> Floats:
        """``[B]`` mean share of distinct legal actions over the nodes that are not finished, 0 to 1."""
        open_BN = ~self.finished & (np.arange(self.finished.shape[1]) < self.size_B[:, None])
        share_BN = (self.prior > 0).mean(axis=2)
        share_B: Floats = np.where(open_BN, share_BN, 0).sum(axis=1) / np.maximum(open_BN.sum(axis=1), 1)
        return share_B

    def path(self, tree: int, slot: int) -> list[int]:
        """Actions from the root to a slot."""
        actions: list[int] = []
        while slot > 0:
            actions.append(int(self.actions[tree, slot]))
            slot = int(self.parents[tree, slot])
        return actions[::-1]


@dataclass(frozen=True, slots=True)
class Candidate:
    """A finished node as a candidate answer.

    Attributes:
        node: Slot in the tree.
        score: Discounted reward on the way; at the depth cap plus the discounted value estimate.
        count: How often the search came to it.
    """

    node: int
    score: float
    count: int


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
        expanded_B: Rows of ``World.expand`` that were spent on each tree.
        candidates_B: Finished nodes of each tree, oldest first.
        best_node_B: Slot of the node selected as the answer: a candidate if there is one, else the best-scored
            node; 0 if only the root is known.
        tree: The trees, for traces.
    """

    visits_BA: Ints
    value_B: Floats
    policy_target_BA: Floats
    best_action_B: Ints
    stop_B: list[StopReason]
    sims_B: Ints
    expanded_B: Ints
    candidates_B: list[list[Candidate]]
    best_node_B: Ints
    tree: TreeView

    @classmethod
    def of(cls, search: Search, choice: Choice) -> Outcome:
        """The outcome of a search as it stands; leaves in flight do not count."""
        tree = TreeView.of(search.tree)
        score_BN = tree.scores(search.tree.discount)
        ends_B = choice.ends_B if choice.ends_B is not None else _finished_ends(tree)
        candidates_B = [
            [Candidate(node, float(score_N[node]), count) for node, count in sorted(ends.items())]
            for score_N, ends in zip(score_BN, ends_B, strict=True)
        ]
        best_node_B = choice.best_node_B
        if best_node_B is None:
            sizes = tree.size_B.tolist()
            best_node_B = np.array([_best_node(*row) for row in zip(score_BN, ends_B, sizes, strict=True)], np.int64)
        has_action_B = (search.tree.logits_BNA[:, 0] > -np.inf).any(axis=1)
        return cls(
            visits_BA=choice.visits_BA,
            value_B=search.tree.values_BN[:, 0].copy(),
            policy_target_BA=choice.policy_target_BA,
            best_action_B=np.where(has_action_B, choice.best_action_B, -1),
            stop_B=[reason if reason is not None else StopReason.BUDGET for reason in search.stop_B],
            sims_B=search.sims_B.copy(),
            expanded_B=search.expanded_B.copy(),
            candidates_B=candidates_B,
            best_node_B=best_node_B,
            tree=tree,
        )


def _best_node(score_N: Floats, ends: dict[int, int], size: int) -> int:
    """The best-scored candidate; without any, the best-scored node below the root; else the root."""
    nodes = sorted(ends) or range(1, size)
    return max(nodes, key=lambda node: float(score_N[node]), default=Tree.ROOT)


def _finished_ends(tree: TreeView) -> list[dict[int, int]]:
    """All finished nodes of each tree but the root, with their visits."""
    return [
        {int(node): int(tree.visits[place, node]) for node in np.flatnonzero(finished_N[:size]) if node}
        for place, (finished_N, size) in enumerate(zip(tree.finished, tree.size_B.tolist(), strict=True))
    ]


def exact_root_values(tree: Tree, place: int) -> Floats:
    """``[A]`` optimal value of each root action of a fully explored tree, by enumeration; ``-inf`` for illegal ones."""
    size = int(tree.size_B[place])
    best_N = tree.raw_values_BN[place, :size].copy()
    reward_N = tree.rewards_BN[place, :size]
    for slot in range(size - 1, -1, -1):  # children come after their parents
        legal = np.flatnonzero(tree.logits_BNA[place, slot] > -np.inf)
        child = tree.children_BNA[place, slot, legal]
        if legal.size:
            q_A = reward_N[child] + tree.discount * best_N[child]
            best_N[slot] = q_A.max()
    root_A = np.full(tree.num_actions, -np.inf)
    root_A[legal] = q_A
    return root_A


def with_solved(search: Search, choice: Choice) -> Choice:
    """The choice, but by exact values where early stopping found a tree fully explored.

    Visits and sampled scores lag behind what an explored tree proves.
    """
    best_B = choice.best_action_B.copy()
    for place, reason in enumerate(search.stop_B):
        if reason is StopReason.EXHAUSTED and search.tree.size_B[place] > 1:
            best_B[place] = exact_root_values(search.tree, place).argmax()
    return replace(choice, best_action_B=best_B)


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
