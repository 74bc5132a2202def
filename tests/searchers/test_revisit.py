"""Descents that do not go again where nothing is left."""

from __future__ import annotations

import numpy as np
import pytest
from worlds import TableWorld

from colasearch.problem import StopReason
from colasearch.searchers import run

DESCENTS = ("gumbel", "puct", "uct", "widening")
SIMS = 200
"""More than the 121 nodes that a tree of depth 4 has."""


def world(**more: object) -> TableWorld:
    return TableWorld(3, states=500, actions=3, terminal=0.2, discount=1.0, **more)


@pytest.mark.parametrize("algorithm", DESCENTS)
@pytest.mark.parametrize(("flying", "merged"), [(1, False), (4, True)])
def test_each_node_is_visited_once_until_the_tree_is_explored(algorithm: str, flying: int, merged: bool) -> None:
    starts = world().starts(8)
    options = {"max_depth": 4, "leaves_in_flight": flying, "merge_equal_states": merged, "seed": 0}
    out = run(algorithm, world(), starts, sims=SIMS, revisit=False, **options)
    assert list(out.stop_B) == [StopReason.EXHAUSTED] * 8
    for place in range(8):
        size = int(out.tree.size_B[place])
        finished = out.tree.finished[place, :size]
        visits = out.tree.visits[place, :size]
        assert finished.any()
        assert (visits[finished] == 1).all(), "a finished node was visited again"
        assert out.sims_B[place] == size - 1
    again = run(algorithm, world(), starts, sims=SIMS, **options)
    assert (again.sims_B == SIMS).all()
    assert (again.tree.size_B <= out.tree.size_B).all()


@pytest.mark.parametrize("algorithm", DESCENTS)
def test_it_differs_from_mctx_only_once_something_is_finished(algorithm: str) -> None:
    starts = world().starts(8)
    plain = TableWorld(3, states=500, actions=3, terminal=0.0, discount=1.0)
    both = [run(algorithm, plain, starts, sims=40, seed=0, revisit=revisit) for revisit in (True, False)]
    np.testing.assert_array_equal(both[0].visits_BA, both[1].visits_BA)
    both = [run(algorithm, world(), starts, sims=100, seed=0, revisit=revisit) for revisit in (True, False)]
    assert (both[0].visits_BA != both[1].visits_BA).any()
    assert (both[1].tree.size_B >= both[0].tree.size_B).all()
