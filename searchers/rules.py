"""Selection rules: which action a simulation takes at a node, as functions over rows of a :class:`Tree`.

A rule sees visit counts, Q-values and priors of ``R`` nodes at once and returns one action for each. Rules read
the tree and change nothing. With leaves in flight, counts are ``n + o`` (WU-UCT, Liu et al. 2020, "Watch the
unobserved") and, under virtual loss ``ℓ > 0``, each unfinished visit also weighs into Q as a return of ``-ℓ``
below its parent's value scale: ``(n·Q - ℓ·o) / (n + o)``. Cost O(A) a node.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from colasearch.searchers.tree import Bools, Floats, Ints, Tree

EPSILON = 1e-8
"""Smallest spread of Q-values that rescaling divides by (mctx's value)."""


@dataclass(frozen=True, slots=True)
class Edges:
    """The edges of ``R`` nodes as a rule sees them; all ``[R, A]`` except ``node_visits_R1`` and ``row_R``."""

    row_R: Ints
    count_RA: Floats
    """Visits, with those in flight."""
    seen_RA: Bools
    """At least one result has come back."""
    q_RA: Floats
    node_visits_R1: Floats


def edges_of(tree: Tree, row_R: Ints, parallel: bool, virtual_loss: float = 0.0) -> Edges:
    """Gather the edges of ``row_R``; in-flight counters are read only if ``parallel``."""
    visits_RA = tree.edge_visits_RA[row_R]
    q_RA = tree.q_RA[row_R]
    node_visits_R1 = tree.visits_R[row_R][:, None]
    seen_RA = visits_RA > 0
    if not parallel:
        return Edges(row_R, visits_RA, seen_RA, q_RA, node_visits_R1)
    flying_RA = tree.in_flight_RA[row_R]
    count_RA = visits_RA + flying_RA
    if virtual_loss:
        q_RA = (visits_RA * q_RA - virtual_loss * flying_RA) / np.maximum(count_RA, 1.0)
        seen_RA = count_RA > 0
    return Edges(row_R, count_RA, seen_RA, q_RA, node_visits_R1 + flying_RA.sum(axis=1, keepdims=True))


def q_by_parent_and_siblings(tree: Tree, edges: Edges) -> Floats:
    """Q scaled to [0, 1] by the least and greatest of the node's value and its visited Q; unvisited edges get 0.

    Source: mctx ``qtransform_by_parent_and_siblings``, after MuZero (Schrittwieser et al. 2020, eq. 5).
    """
    value_R1 = tree.values_R[edges.row_R][:, None]
    safe_RA = np.where(edges.seen_RA, edges.q_RA, value_R1)
    low_R1 = np.minimum(safe_RA.min(axis=1, keepdims=True), value_R1)
    high_R1 = np.maximum(safe_RA.max(axis=1, keepdims=True), value_R1)
    scaled_RA = (edges.q_RA - low_R1) / np.maximum(high_R1 - low_R1, EPSILON)
    return np.where(edges.seen_RA, scaled_RA, 0.0)


def q_by_min_max(edges: Edges, min_value: float, max_value: float) -> Floats:
    """Q scaled by known bounds; unvisited edges count as ``min_value``. Source: mctx ``qtransform_by_min_max``."""
    return np.where(edges.seen_RA, (edges.q_RA - min_value) / (max_value - min_value), 0.0)


def puct_scores(tree: Tree, edges: Edges, scaled_q_RA: Floats, pb_c_init: float, pb_c_base: float) -> Floats:
    """``Q̂ + P · (c1 + ln((N + c2 + 1)/c2)) · √N / (1 + n)``, ``-inf`` for illegal actions.

    Source: MuZero (Schrittwieser et al. 2020), appendix B eq. 2; N counts the node's own evaluation, as in mctx.
    """
    visits_R1 = edges.node_visits_R1
    weight_R1 = np.sqrt(visits_R1) * (pb_c_init + np.log((visits_R1 + pb_c_base + 1) / pb_c_base))
    scores_RA = weight_R1 * tree.prior_RA[edges.row_R] / (edges.count_RA + 1) + scaled_q_RA
    return np.where(tree.logits_RA[edges.row_R] == -np.inf, -np.inf, scores_RA)


def completed_q(
    tree: Tree,
    edges: Edges,
    value_scale: float,
    maxvisit_init: float,
    rescale_values: bool,
    use_mixed_value: bool,
) -> Floats:
    """``σ(q̂) = (c_visit + max n) · c_scale · q̂`` with unvisited Q filled in by the mixed value.

    ``v_mix = (v + ΣN · Σ_vis P q / Σ_vis P) / (1 + ΣN)``, v the node's raw value. Source: Danihelka et al. 2022,
    eqs. 8, 10 and 33; rescaling to [0, 1] over the node's actions as in mctx.
    """
    raw_R1 = tree.raw_values_R[edges.row_R][:, None]
    fill_R1 = raw_R1
    if use_mixed_value:
        weight_RA = np.where(edges.seen_RA, np.maximum(tree.prior_RA[edges.row_R], np.finfo(np.float64).tiny), 0.0)
        total_R1 = weight_RA.sum(axis=1, keepdims=True)
        mean_q_R1 = (weight_RA * edges.q_RA).sum(axis=1, keepdims=True) / np.where(total_R1 > 0, total_R1, 1.0)
        visits_R1 = edges.count_RA.sum(axis=1, keepdims=True)
        fill_R1 = (raw_R1 + visits_R1 * mean_q_R1) / (visits_R1 + 1)
        fill_R1 = np.where(total_R1 > 0, fill_R1, raw_R1)  # all in flight: nothing to mix in
    q_RA = np.where(edges.seen_RA, edges.q_RA, fill_R1)
    if rescale_values:
        low_R1 = q_RA.min(axis=1, keepdims=True)
        q_RA -= low_R1
        q_RA /= np.maximum(q_RA.max(axis=1, keepdims=True), EPSILON)
    q_RA *= (maxvisit_init + edges.count_RA.max(axis=1, keepdims=True)) * value_scale
    return q_RA


def softmax(logits_RA: Floats) -> Floats:
    """Softmax along the last axis; a row of ``-inf`` gives zeros."""
    top_R1 = logits_RA.max(axis=-1, keepdims=True)
    weights_RA: Floats = np.exp(logits_RA - np.where(np.isneginf(top_R1), 0.0, top_R1))
    total_R1 = weights_RA.sum(axis=-1, keepdims=True)
    weights_RA /= np.where(total_R1 > 0, total_R1, 1.0)
    return weights_RA


def improved_policy_scores(tree: Tree, edges: Edges, sigma_q_RA: Floats) -> Floats:
    """``π'(a) - n(a) / (1 + ΣN)`` with ``π' = softmax(logits + σ(q̂))``.

    The scores of legal actions sum to more than 0 and those of illegal ones are 0, so the best is always legal.
    Source: Danihelka et al. 2022, eq. 14.
    """
    target_RA = softmax(tree.logits_RA[edges.row_R] + sigma_q_RA)
    share_RA: Floats = edges.count_RA / (1 + edges.count_RA.sum(axis=1, keepdims=True))
    return target_RA - share_RA


def uct_scores(tree: Tree, edges: Edges, exploration: float) -> Floats:
    """``Q + c·√(ln N / n)``; actions not tried yet come before all others, in the order of their priors.

    Without that an unvisited action has no score, and ``ln N = 0`` would make the second simulation greedy.
    Source: Kocsis and Szepesvári 2006.
    """
    bonus_RA = exploration * np.sqrt(np.log(edges.node_visits_R1) / np.maximum(edges.count_RA, 1.0))
    tried_RA = edges.count_RA > 0
    # An untried action's prior is in [0, 1], far above any finite Q once this is added; inf would lose the order.
    first_RA = 1e9 * (1.0 + tree.prior_RA[edges.row_R])
    scores_RA = np.where(tried_RA, edges.q_RA + bonus_RA, first_RA)
    return np.where(tree.logits_RA[edges.row_R] == -np.inf, -np.inf, scores_RA)


def where_open(tree: Tree, edges: Edges, scores_RA: Floats, revisit: bool) -> Floats:
    """The scores; unless closed nodes may be visited again, ``-inf`` for edges into those and for illegal ones."""
    if revisit:
        return scores_RA
    return np.where(tree.closed_edges(edges.row_R) | (tree.logits_RA[edges.row_R] == -np.inf), -np.inf, scores_RA)


def widened(
    tree: Tree, edges: Edges, scores_RA: Floats, width: float, exponent: float, closed_RA: Bools | None = None
) -> Floats:
    """Scores with all but the ``⌈k·N^α⌉`` actions of largest prior set to ``-inf``.

    Actions that are ``closed_RA`` take no place among those. Source: progressive widening (Coulom 2007; Chaslot et al.
    2008), ordered by prior.
    """
    allowed_R1 = np.ceil(width * edges.node_visits_R1**exponent)
    logits_RA = tree.logits_RA[edges.row_R]
    if closed_RA is not None:
        logits_RA = np.where(closed_RA, -np.inf, logits_RA)
    order_RA = np.argsort(-logits_RA, axis=1, kind="stable")
    rank_RA = np.empty_like(order_RA)
    np.put_along_axis(rank_RA, order_RA, np.arange(order_RA.shape[1])[None], axis=1)
    return np.where(rank_RA < allowed_R1, scores_RA, -np.inf)
