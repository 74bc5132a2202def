"""Sequential halving and REBASE against published and hand-derived vectors."""

from __future__ import annotations

import numpy as np
import pytest
from worlds import TableWorld

from colasearch.searchers import run
from colasearch.searchers.halving import considered_visits, considered_visits_table, phases_table
from colasearch.searchers.rebase import balanced_widths


@pytest.mark.parametrize(
    ("m", "sims", "expected"),
    [
        (8, 24, [0] * 8 + [1] * 4 + [2] * 4 + [3, 3, 4, 4, 5, 5, 6, 6]),
        (8, 47, [0] * 8 + [1] * 4 + [2] * 4 + [3] * 4 + [n // 2 for n in range(8, 35)]),
        (8, 2, [0, 0]),
        (8, 13, [0] * 8 + [1] * 4 + [2]),
        (7, 24, [0] * 7 + [1, 1, 1, 2, 2, 2] + [n // 2 for n in range(6, 17)]),
        (0, 16, list(range(16))),
        (1, 16, list(range(16))),
    ],
)
def test_sequences_of_mctx(m: int, sims: int, expected: list[int]) -> None:
    assert considered_visits(m, sims) == expected
    assert considered_visits_table(8, sims)[m].tolist() == expected


@pytest.mark.parametrize(
    ("m", "sims", "expected"),
    [
        (16, 64, [15, 15, 7, 7, 3, 3, 3, 3] + [1] * 8),
        (8, 64, [21, 21, 7, 7, 2, 2, 2, 2]),
        (64, 64, [1] * 64),
    ],
)
def test_final_visits_with_a_fixed_ranking(m: int, sims: int, expected: list[int]) -> None:
    class Bandit:
        """One step, rewards in the order of the priors: the ranking never changes."""

        def root(self, problems: object) -> object:
            return [0], [np.linspace(0, -1e-3, 64)], [0.0]

        def expand(self, states: object, actions: np.ndarray) -> object:
            rows = len(actions)
            return [1] * rows, 1.0 - actions / 64, [True] * rows, np.zeros((rows, 64)), [0.0] * rows

    for flying in (1, 4, 16):  # leaves of one phase may fly together without changing the budget
        out = run(
            "gumbel", Bandit(), [0], sims=sims, gumbel_scale=0.0, max_num_considered_actions=m, leaves_in_flight=flying
        )
        assert sorted((n for n in out.visits_BA[0].tolist() if n), reverse=True) == expected


def test_gumbel_bandit_with_masked_actions_has_closed_form_weights() -> None:
    """The bandit of mctx's policies_test: visits [0, 9, 8, 0] and weights that can be worked out by hand."""
    logits, rewards = np.array([-np.inf, -1.0, 2.0, -np.inf]), np.array([20.0, 3.0, -1.0, 10.0])

    class Bandit:
        def root(self, problems: object) -> object:
            return [0], [logits], [-5.0]

        def expand(self, states: object, actions: np.ndarray) -> object:
            rows = len(actions)
            return [1] * rows, rewards[actions], [True] * rows, np.zeros((rows, 4)), [0.0] * rows

    out = run("gumbel", Bandit(), [0], sims=17, value_scale=0.05, maxvisit_init=60)
    assert out.visits_BA.tolist() == [[0, 9, 8, 0]]
    assert out.best_action_B.tolist() == [1]
    p1, p2 = np.exp([-1.0, 2.0]) / np.exp([-1.0, 2.0]).sum()
    mixed = (-5.0 + 17 * (p1 * 3.0 + p2 * -1.0)) / 18
    q = np.array([mixed, 3.0, -1.0, mixed])
    sigma = (60 + 9) * 0.05 * (q - q.min()) / (q.max() - q.min())
    weights = np.exp(logits + sigma)
    np.testing.assert_allclose(out.policy_target_BA[0], weights / weights.sum(), atol=1e-12)


@pytest.mark.parametrize(
    ("m", "sims", "ends"), [(8, 24, [8, 16, 24]), (16, 64, [16, 32, 48, 64]), (2, 10, [10]), (7, 24, [7, 13, 24])]
)
def test_phases_end_where_actions_drop_out(m: int, sims: int, ends: list[int]) -> None:
    phases = phases_table(m, sims)[m]
    assert (np.flatnonzero(np.diff(phases)) + 1).tolist() == ends[:-1]


@pytest.mark.parametrize(
    ("scores", "width", "expected"),
    [
        ([0.9, 0.5, 0.1], 16, [14, 2, 0]),
        ([0.8] * 4, 6, [2, 2, 1, 1]),
        ([0.99, 0.97, 0.5, 0.2], 16, [8, 8, 0, 0]),
        ([0.1, 0.9, 0.5], 16, [0, 14, 2]),
        ([0.3], 5, [5]),
        ([], 5, []),
        ([1e6, -1e6], 4, [4, 0]),
    ],
)
def test_rebase_widths(scores: list[float], width: int, expected: list[int]) -> None:
    assert balanced_widths(scores, width, 0.2) == expected


def test_rebase_spends_its_width_on_each_level() -> None:
    world = TableWorld(5, actions=32, terminal=0.0, illegal=0.0)
    out = run("rebase", world, world.starts(4), sims=48, width=12)
    for place in range(4):
        levels = np.bincount(out.tree.depths[place][: out.tree.size_B[place]])
        assert levels.tolist() == [1, 12, 12, 12, 12]
