"""Rollouts from the policy and ways to pick one: greedy, best-of-N, majority and weighted vote.

``values_used`` says which of the world's values an algorithm looks at: ``none``, or those of the ``ends`` of paths
alone. A world need not value what is not looked at. Algorithms without it look at the values of all nodes.
"""

from __future__ import annotations

from collections.abc import Hashable
from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from colasearch.errors import InputError
from colasearch.problem import StopReason
from colasearch.searchers.options import at_least
from colasearch.searchers.outcome import Choice
from colasearch.searchers.programs import Branch, Edge, Program, Programs, best_end, by_paths
from colasearch.searchers.search import Search
from colasearch.searchers.tree import States


@dataclass(frozen=True, kw_only=True)
class Greedy:
    """One path that always takes the action of largest prior.

    Cost: one simulation a step. When to use: as the floor that every search must beat.
    """

    name: ClassVar[str] = "greedy"
    values_used: ClassVar[str] = "none"

    def start(self, search: Search) -> None:
        """Make ``search`` run this algorithm."""
        search.strategy = Programs(search, self._program)

    def _program(self, branch: Branch) -> Program:
        node = Branch.ROOT
        while not branch.finished(node):
            action = branch.top_actions(node, 1)[0]
            yield [(node, action)]
            node = branch.child(node, action)
        branch.end(node)
        return StopReason.EXHAUSTED

    def conclude(self, search: Search) -> Choice:
        """The path's first action."""
        return by_paths(search)


@dataclass(frozen=True, kw_only=True)
class BestOfN:
    """Independent rollouts, actions drawn from ``softmax(logits / temperature)``; the best score wins.

    The score is the discounted reward on the way (plus the value estimate at a depth cap), so with a world whose
    terminal reward is a verifier's this is best-of-N under that verifier. Steps that an earlier rollout took are
    reused, not paid for again. Source: e.g. Cobbe et al. 2021, "Training verifiers to solve math word problems".
    Cost: at most one simulation a step, O(1) arithmetic. When to use: the baseline for every search that has a
    scorer; hard to beat at small budgets.

    Attributes:
        samples: Rollouts; None goes on until the budget is spent, with at most ``sims`` rollouts.
        temperature: Above 1 flattens the prior, below 1 sharpens it; must be above 0.
    """

    name: ClassVar[str] = "best_of_n"
    values_used: ClassVar[str] = "ends"

    samples: int | None = None
    temperature: float = 1.0

    def __post_init__(self) -> None:
        """Check the options."""
        if self.samples is not None:
            at_least("samples", self.samples, 1)
        if not self.temperature > 0:
            raise InputError(f"temperature is {self.temperature}; it must be above 0; use greedy for the limit 0")

    def start(self, search: Search) -> None:
        """Make ``search`` run this algorithm."""
        search.strategy = Programs(search, self._program)

    def _program(self, branch: Branch) -> Program:
        """As many rollouts side by side as leaves may fly; rollout i draws from its own stream."""
        total = self.samples if self.samples is not None else branch.search.sims
        started = 0
        lanes: list[tuple[int, np.random.Generator]] = []
        while True:
            while len(lanes) < branch.search.leaves_in_flight and started < total:
                lanes.append((Branch.ROOT, branch.rng(f"rollout {started}")))
                started += 1
            if not lanes:
                return StopReason.BUDGET
            edges: list[Edge] = [(node, branch.draw(node, rng, self.temperature)) for node, rng in lanes]
            yield edges
            moved = [(branch.child(*edge), rng) for edge, (_, rng) in zip(edges, lanes, strict=True)]
            lanes = []
            for node, rng in moved:
                if branch.finished(node):
                    branch.end(node)
                else:
                    lanes.append((node, rng))

    def conclude(self, search: Search) -> Choice:
        """The rollout with the best score."""
        return by_paths(search)


@dataclass(frozen=True, kw_only=True)
class Majority(BestOfN):
    """Rollouts as in best-of-N; the most frequent answer wins (self-consistency).

    Answers are the world's ``answers(states)`` where it has that method, else the states themselves. Ties go to the
    better score, then to the answer found first. Source: Wang et al. 2022, "Self-consistency improves chain of
    thought reasoning". Cost as best-of-N. When to use: no scorer to trust; the baseline for every search without
    one.
    """

    name: ClassVar[str] = "majority"
    values_used: ClassVar[str] = "none"

    def weight(self, branch: Branch, node: int) -> float:
        """What one rollout's vote counts."""
        return 1.0

    def conclude(self, search: Search) -> Choice:
        """The best-scored rollout among those that gave the winning answer."""
        return by_paths(search, self._select)

    def _select(self, branch: Branch) -> int:
        if not branch.ends:
            return best_end(branch)
        nodes = sorted(branch.ends)
        keys = answer_keys(branch, nodes)
        votes: dict[Hashable, float] = {}
        for node, key in zip(nodes, keys, strict=True):
            votes[key] = votes.get(key, 0.0) + branch.ends[node] * self.weight(branch, node)
        groups: dict[Hashable, list[int]] = {}
        for node, key in zip(nodes, keys, strict=True):
            groups.setdefault(key, []).append(node)
        best = max(groups, key=lambda key: (votes[key], max(branch.score(node) for node in groups[key])))
        return max(groups[best], key=branch.score)


@dataclass(frozen=True, kw_only=True)
class WeightedVote(Majority):
    """Majority vote in which each rollout counts by its score: ``argmax_a Σ s_i · 1[answer_i = a]``.

    Source: Li et al. 2023, "Making large language models better reasoners with step-aware verifier". Cost as
    best-of-N. When to use: a scorer that is better than chance but not to be trusted with one text. Scores are taken
    as they are; negative ones vote against an answer.
    """

    name: ClassVar[str] = "weighted_vote"
    values_used: ClassVar[str] = "ends"

    def weight(self, branch: Branch, node: int) -> float:
        """The rollout's score."""
        return branch.score(node)


def answer_keys(branch: Branch, nodes: list[int]) -> list[Hashable]:
    """A hashable answer for each of the nodes: the world's, or the state's bytes."""
    states_BN = branch.search.tree.states_BN
    assert states_BN is not None
    states: States = states_BN[branch.place, nodes]
    if branch.search.answers is not None:
        return list(branch.search.answers(states))
    return [state.tobytes() for state in states]
