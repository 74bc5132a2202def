"""AB-MCTS: Thompson sampling between a new branch here and going on below a known one."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from colasearch.errors import InputError
from colasearch.problem import StopReason
from colasearch.searchers.outcome import Choice
from colasearch.searchers.programs import Branch, Program, Programs, by_paths
from colasearch.searchers.search import Search


class _Arm:
    """Beta posterior of the scores seen through one arm."""

    __slots__ = ("alpha", "beta")

    def __init__(self, strength: float) -> None:
        self.alpha = self.beta = strength

    def see(self, score: float) -> None:
        self.alpha += score
        self.beta += 1 - score

    def draw(self, rng: np.random.Generator) -> float:
        return float(rng.beta(self.alpha, self.beta))


@dataclass(frozen=True, kw_only=True)
class AbMcts:
    """Adaptive-branching MCTS, adapted from free generation to a finite set of actions.

    At each node one arm stands for *generate* (try the untried action of largest prior) and one for each child
    (*refine*: go on below it). Each arm has a Beta posterior over scores in [0, 1]: the generate arm has seen the
    scores of the node's children when they were made, a child's arm all scores made at or below the child. A draw
    from each decides; a generate arm ends the walk. Finished children and exhausted subtrees are no arms. Scores
    are ``(score - min_value) / (max_value - min_value)``, clipped. Source: Inoue et al. 2025, "Wider or deeper? Scaling
    LLM inference-time compute with adaptive branching tree search", variant A, which draws generations freely and
    groups the children under one arm. Cost O(depth · children) a simulation. When to use: scores that are noisy and
    a width that should depend on the problem.

    Attributes:
        prior_strength: α = β of the Beta prior; 0.5 is Jeffreys'.
        min_value: Score that counts as 0.
        max_value: Score that counts as 1.
    """

    name: ClassVar[str] = "ab_mcts"

    prior_strength: float = 0.5
    min_value: float = 0.0
    max_value: float = 1.0

    def __post_init__(self) -> None:
        """Check the options."""
        if not self.prior_strength > 0:
            raise InputError(f"prior_strength is {self.prior_strength}; it must be above 0")
        if not self.max_value > self.min_value:
            raise InputError(
                f"max_value {self.max_value} is not above min_value {self.min_value}; pass the bounds of the score"
            )

    def start(self, search: Search) -> None:
        """Make ``search`` run this algorithm."""
        search.strategy = Programs(search, self._program)

    def _program(self, branch: Branch) -> Program:
        rng = branch.rng("thompson")
        every = branch.search.tree.num_actions
        untried = {Branch.ROOT: branch.top_actions(Branch.ROOT, every)}
        children: dict[int, list[int]] = {Branch.ROOT: []}
        generate = {Branch.ROOT: _Arm(self.prior_strength)}
        refine: dict[int, _Arm] = {}
        while untried[Branch.ROOT] or children[Branch.ROOT]:
            node = Branch.ROOT
            while True:
                arms = [(refine[child].draw(rng), child) for child in children[node]]
                if untried[node]:
                    arms.append((generate[node].draw(rng), -1))
                chosen = max(arms)[1]
                if chosen < 0:
                    break
                node = chosen
            action = untried[node].pop(0)
            yield [(node, action)]
            child = branch.child(node, action)
            score = (branch.score(child) - self.min_value) / (self.max_value - self.min_value)
            score = min(1.0, max(0.0, score))
            generate[node].see(score)
            if branch.finished(child):
                branch.end(child)
            elif child not in refine:  # a merged action leads to a child that is known already
                children[node].append(child)
                children[child], refine[child] = [], _Arm(self.prior_strength)
                untried[child] = branch.top_actions(child, every)
                generate[child] = _Arm(self.prior_strength)
                refine[child].see(score)
            above = node
            while above != Branch.ROOT:
                refine[above].see(score)
                above = branch.parent(above)
            while node != Branch.ROOT and not untried[node] and not children[node]:
                exhausted, node = node, branch.parent(node)
                children[node].remove(exhausted)
        return StopReason.EXHAUSTED

    def conclude(self, search: Search) -> Choice:
        """The candidate with the best score."""
        return by_paths(search)
