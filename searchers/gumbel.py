"""Gumbel search: sequential halving over sampled actions at the root, the improved policy below. The default."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import ClassVar

import numpy as np
import numpy.typing as npt

from colasearch.errors import InputError
from colasearch.searchers import rules
from colasearch.searchers.descent import Descent
from colasearch.searchers.halving import considered_visits_table, phases_table
from colasearch.searchers.noise import generator
from colasearch.searchers.options import DescentOptions, at_least
from colasearch.searchers.outcome import Choice, root_visits, with_solved
from colasearch.searchers.search import Search
from colasearch.searchers.tree import Bools, Floats, Ints, Tree

LOW_SCORE = -1e9
"""Floor of a root score, so that a legal action of tiny prior still beats a masked one (mctx's value)."""


@dataclass(frozen=True, kw_only=True)
class Gumbel(DescentOptions):
    """Gumbel MuZero's search without a temperature: draws actions without replacement, then halves them.

    Root: the ``m`` actions with the largest ``g + logits`` compete; each simulation goes to the largest
    ``g + logits + σ(q̂)`` among those at the visit count that sequential halving prescribes. Below the root:
    ``argmax π'(a) - n(a)/(1 + ΣN)``, ``π' = softmax(logits + σ(q̂))``, ``σ(q) = (maxvisit_init + max n) ·
    value_scale · q`` with unvisited Q filled in by the mixed value. The policy target is π' at the root.

    Source: Danihelka et al. 2022, "Policy improvement by planning with Gumbel"; equal to mctx
    ``gumbel_muzero_policy``. Cost O(depth · A) a simulation. When to use: always, unless another algorithm has
    been shown to do better; above all with fewer simulations than actions. Keep ``m`` well under the simulations:
    with 64 of both each action gets one visit and nothing is halved.

    Attributes:
        max_num_considered_actions: m, actions that compete at the root.
        gumbel_scale: Scale of the root noise; 0 makes the search deterministic.
        value_scale: c_scale of σ.
        maxvisit_init: c_visit of σ.
        rescale_values: Rescale completed Q-values of a node to [0, 1] before σ.
        use_mixed_value: Fill unvisited Q with the mixed value rather than the node's raw value.
        root_gumbel: Noise to use in place of drawn noise, ``[B, A]`` or ``[A]``; for comparisons.
    """

    name: ClassVar[str] = "gumbel"

    max_num_considered_actions: int = 16
    gumbel_scale: float = 1.0
    value_scale: float = 0.1
    maxvisit_init: float = 50.0
    rescale_values: bool = True
    use_mixed_value: bool = True
    root_gumbel: npt.ArrayLike | None = field(default=None, compare=False)

    def __post_init__(self) -> None:
        """Check the options."""
        super().__post_init__()
        at_least("max_num_considered_actions", self.max_num_considered_actions, 1)
        at_least("gumbel_scale", self.gumbel_scale, 0)

    def start(self, search: Search) -> None:
        """Make ``search`` run this algorithm."""
        rule = GumbelRule(self, search)
        search.strategy = Descent(search, rule, self)

    def conclude(self, search: Search) -> Choice:
        """The best-scoring action among the most visited; the policy target is ``softmax(logits + σ(q̂))``."""
        strategy = search.strategy
        assert isinstance(strategy, Descent)
        assert isinstance(strategy.rule, GumbelRule)
        return with_solved(search, strategy.rule.conclude(search))


class GumbelRule:
    """Selection rule of :class:`Gumbel` for one search; holds the root noise and the halving tables."""

    def __init__(self, options: Gumbel, search: Search) -> None:
        self.options = options
        tree = search.tree
        self.noise_BA = self._noise(search)
        # A reused subtree brings visits along; sequential halving counts from there.
        self.start_visits_BA = tree.edge_visits_BNA[:, 0].copy()
        legal_B = np.count_nonzero(tree.logits_BNA[:, 0] > -np.inf, axis=1)
        self.considered_B = np.minimum(options.max_num_considered_actions, legal_B)
        most = int(self.considered_B.max(initial=0))
        self.table = considered_visits_table(most, max(search.sims, 1))
        self.phases = phases_table(most, max(search.sims, 1))

    def _noise(self, search: Search) -> Floats:
        shape = (search.tree.num_trees, search.tree.num_actions)
        given = self.options.root_gumbel
        if given is not None:
            noise = np.asarray(given, np.float64)
            if noise.shape not in (shape, shape[1:]):
                raise InputError(f"root_gumbel has shape {noise.shape}; pass {shape} or {shape[1:]}")
            return np.broadcast_to(noise, shape)
        if not self.options.gumbel_scale:
            return np.zeros(shape)
        draws = [generator(search.seed, key, "gumbel").gumbel(size=shape[1]) for key in search.keys]
        return self.options.gumbel_scale * np.array(draws).reshape(shape)

    def _sigma_q(self, search: Search, edges: rules.Edges) -> Floats:
        options = self.options
        return rules.completed_q(
            search.tree,
            edges,
            options.value_scale,
            options.maxvisit_init,
            options.rescale_values,
            options.use_mixed_value,
        )

    def choose(self, search: Search, row_R: Ints) -> Ints:
        """The action furthest below its share of visits under the improved policy."""
        edges = rules.edges_of(search.tree, row_R, search.leaves_in_flight > 1, self.options.loss)
        scores_RA = rules.improved_policy_scores(search.tree, edges, self._sigma_q(search, edges))
        chosen_R: Ints = self._open(search.tree, edges, scores_RA).argmax(axis=1)
        return chosen_R

    def _open(self, tree: Tree, edges: rules.Edges, scores_RA: Floats) -> Floats:
        return rules.where_open(tree, edges, scores_RA, self.options.revisit)

    def choose_root(self, search: Search, tree_T: Ints) -> Ints:
        """The best-scoring action among those at the visit count that sequential halving asks for."""
        tree = search.tree
        row_T = tree_T * tree.capacity
        edges = rules.edges_of(tree, row_T, search.leaves_in_flight > 1, self.options.loss)
        new_TA = edges.count_RA - self.start_visits_BA[tree_T]
        started_T = np.minimum(new_TA.sum(axis=1).astype(np.int64), self.table.shape[1] - 1)
        wanted_T = self.table[self.considered_B[tree_T], started_T]
        # An action with nothing left below it hands its visits on to the nearest in the race.
        return self._best(search, tree_T, edges, new_TA, wanted_T, self._open(tree, edges, tree.logits_RA[edges.row_R]))

    def _best(
        self,
        search: Search,
        tree_T: Ints,
        edges: rules.Edges,
        new_TA: Floats,
        wanted_T: Ints | Floats,
        logits_TA: Floats,
    ) -> Ints:
        scores_TA = np.maximum(LOW_SCORE, self.noise_BA[tree_T] + logits_TA + self._sigma_q(search, edges))
        # Without merged children some action is always at the wanted count. A merge can leave none there; then
        # the nearest count decides, rather than an arbitrary action.
        distance_TA = np.abs(new_TA - wanted_T[:, None])
        distance_TA[logits_TA == -np.inf] = np.inf
        nearest_T1 = distance_TA.min(axis=1, keepdims=True)
        best_T: Ints = np.where(distance_TA == nearest_T1, scores_TA, -np.inf).argmax(axis=1)
        return best_T

    def may_go_on(self, search: Search, tree_T: Ints) -> Bools:
        """Leaves of one halving phase may fly together; the next phase needs all their results."""
        counts_TA = search.tree.edge_visits_BNA[tree_T, 0] - self.start_visits_BA[tree_T]
        last = self.phases.shape[1] - 1
        done_T = np.minimum(counts_TA.sum(axis=1).astype(np.int64), last)
        next_T = np.minimum(done_T + search.asked_B[tree_T], last)
        considered_T = self.considered_B[tree_T]
        result: Bools = self.phases[considered_T, done_T] == self.phases[considered_T, next_T]
        return result

    def decided(self, search: Search, tree_T: Ints) -> Bools:
        """One action is left in the race, or leads by more visits than remain.

        Sequential halving keeps two actions level to the end, so this is rare by design.
        """
        visits_TA = search.tree.edge_visits_BNA[tree_T, 0] - self.start_visits_BA[tree_T]
        alone_T: Bools = self.considered_B[tree_T] == 1
        if visits_TA.shape[1] == 1:
            return alone_T
        top_T2 = np.partition(visits_TA, -2, axis=1)[:, -2:]
        return alone_T | (top_T2[:, 1] - top_T2[:, 0] > search.left_B()[tree_T])

    def conclude(self, search: Search) -> Choice:
        """Visits, target and choice at the roots; in-flight leaves do not count."""
        tree = search.tree
        tree_B = np.arange(tree.num_trees)
        edges = rules.edges_of(tree, tree_B * tree.capacity, parallel=False)
        sigma_BA = self._sigma_q(search, edges)
        target_BA = rules.softmax(tree.logits_BNA[:, 0] + sigma_BA)
        new_BA = edges.count_RA - self.start_visits_BA
        best_B = self._best(search, tree_B, edges, new_BA, new_BA.max(axis=1), tree.logits_RA[edges.row_R])
        return Choice(root_visits(search), target_BA, best_B)
