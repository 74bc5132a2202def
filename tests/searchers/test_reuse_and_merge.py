"""Keeping a subtree after a step, and merging actions that lead to the same child."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from worlds import TableWorld

from colasearch.errors import InputError
from colasearch.problem import StopReason
from colasearch.searchers import Search, advance, begin, conclude, drive, run


def searched(algorithm: str, world: TableWorld, starts: list[int], sims: int, **options: Any) -> tuple[Any, Search]:
    chosen, search = begin(algorithm, world, starts, sims=sims, **options)
    drive(search, world)
    return chosen, search


@pytest.mark.parametrize("algorithm", ["gumbel", "puct", "uct", "widening"])
@pytest.mark.parametrize("flying", [1, 4])
def test_subtree_is_kept_and_grows(algorithm: str, flying: int) -> None:
    world = TableWorld(7, states=2000, actions=6, terminal=0.1, discount=0.9)
    starts = world.starts(12)
    chosen, search = searched(algorithm, world, starts, 60, leaves_in_flight=flying)
    first = conclude(chosen, search)
    step_B = first.best_action_B
    rows = world.rows
    later = advance(chosen, search, world, step_B, sims=40)
    assert world.rows == rows, "children that were visited are not evaluated again"
    for place in range(12):
        child = int(first.tree.children[place, 0, step_B[place]])
        if first.tree.finished[place, child]:
            assert later.stop_B[place] is StopReason.EXHAUSTED
            continue
        assert later.tree.visits_BN[place, 0] == first.tree.visits[place, child]
        assert later.tree.values_BN[place, 0] == first.tree.values[place, child]
        np.testing.assert_array_equal(later.tree.edge_visits_BNA[place, 0], first.tree.edge_visits[place, child])
        for slot in range(1, int(later.tree.size_B[place])):
            again = [int(step_B[place]), *later.tree.path(place, slot)]
            twin = 0
            for action in again:
                twin = int(first.tree.children[place, twin, action])
            assert first.tree.visits[place, twin] == later.tree.visits_BN[place, slot]
            assert (first.tree.states[place, twin] == later.tree.states_BN[place, slot]).all()  # type: ignore[index]
    drive(later, world)
    out = conclude(chosen, later)
    for place in np.flatnonzero([reason is StopReason.BUDGET for reason in out.stop_B]):
        child = int(first.tree.children[place, 0, step_B[place]])
        assert out.tree.visits[place, 0] == first.tree.visits[place, child] + 40
        for node in range(int(out.tree.size_B[place])):
            if not out.tree.finished[place, node]:
                assert out.tree.visits[place, node] == 1 + out.tree.edge_visits[place, node].sum()


def test_puct_in_a_reused_subtree_goes_on_as_if_it_had_always_been_the_root() -> None:
    """PUCT is history-free: inherited visits plus new ones equal one search of that many from the child."""
    world = TableWorld(7, states=2000, actions=6, terminal=0.0)
    starts = world.starts(10)
    chosen, search = searched("puct", world, starts, 60)
    step_B = conclude(chosen, search).best_action_B
    later = advance(chosen, search, world, step_B, sims=30)
    inherited_B = later.tree.visits_BN[:, 0].astype(int) - 1
    drive(later, world)
    for place in range(10):
        child = int(world.next_SA[starts[place], step_B[place]])
        fresh = run("puct", world, [child], sims=int(inherited_B[place]) + 30)
        np.testing.assert_array_equal(fresh.visits_BA[0], later.tree.edge_visits_BNA[place, 0])


def test_gumbel_halves_its_new_simulations_whatever_was_inherited() -> None:
    world = TableWorld(7, actions=64, terminal=0.0, illegal=0.0)
    chosen, search = searched("gumbel", world, world.starts(6), 200)
    first = conclude(chosen, search)
    later = advance(chosen, search, world, first.best_action_B, sims=64)
    inherited_BA = later.tree.edge_visits_BNA[:, 0].copy()
    assert (inherited_BA.sum(axis=1) > 20).all()
    drive(later, world)
    out = conclude(chosen, later)
    new_BA = (out.visits_BA - inherited_BA).astype(int)
    for place in range(6):
        assert sorted(new_BA[place][new_BA[place] > 0].tolist()) == [1] * 8 + [3] * 4 + [7, 7, 15, 15]
        assert new_BA[place, out.best_action_B[place]] == 15


def test_an_unvisited_action_is_evaluated_by_the_world() -> None:
    world = TableWorld(7, states=500, actions=6, terminal=0.0, illegal=0.0)
    chosen, search = searched("gumbel", world, world.starts(3), 4, max_num_considered_actions=2)
    unvisited_B = search.tree.edge_visits_BNA[:, 0].argmin(axis=1)
    later = advance(chosen, search, world, unvisited_B, sims=8)
    after = world.next_SA[world.starts(3), unvisited_B]
    np.testing.assert_array_equal(later.tree.states_BN[:, 0], after)  # type: ignore[index]
    np.testing.assert_array_equal(later.tree.raw_values_BN[:, 0], world.value_S[after])
    drive(later, world)
    assert (later.sims_B == 8).all()


def test_root_noise_differs_from_step_to_step() -> None:
    world = TableWorld(7, states=500, actions=6, terminal=0.0, illegal=0.0)
    chosen, search = searched("gumbel", world, [1], 8)
    later = advance(chosen, search, world, conclude(chosen, search).best_action_B, sims=8)
    assert later.seed != search.seed


def test_bad_steps_are_refused() -> None:
    world = TableWorld(7, states=50, actions=6, terminal=0.0, illegal=0.5)
    chosen, search = searched("puct", world, [1], 4)
    illegal = int(np.flatnonzero(world.logits_SA[1] == -np.inf)[0])
    for action, words in [(6, "from 0 to 5"), (-1, "from 0 to 5"), (illegal, "is illegal")]:
        with pytest.raises(InputError, match=words):
            advance(chosen, search, world, [action], sims=4)


class Twins(TableWorld):
    """Actions 2k and 2k + 1 lead to the same state with the same reward."""

    def __init__(self, declared: bool, **options: Any) -> None:
        super().__init__(5, states=300, actions=8, illegal=0.0, **options)
        self.next_SA[:, 1::2] = self.next_SA[:, ::2]
        self.reward_SA[:, 1::2] = self.reward_SA[:, ::2]
        if declared:
            self.equal_actions = lambda states: np.broadcast_to(np.arange(8) // 2, (len(states), 8))


def test_declared_equal_actions_share_a_child_and_sum_their_priors() -> None:
    world = Twins(True, terminal=0.1)
    out = run("gumbel", world, world.starts(5), sims=40)
    assert not out.visits_BA[:, 1::2].any()
    prior = np.exp(world.logits_SA[world.starts(5)])
    prior = (prior / prior.sum(axis=1, keepdims=True)).reshape(5, 4, 2).sum(axis=2)
    np.testing.assert_allclose(out.tree.prior[:, 0, ::2], prior, atol=1e-12)
    np.testing.assert_allclose(out.tree.effective_branching(), 0.5)


def test_merging_equals_searching_the_world_without_twins() -> None:
    twins = Twins(True, terminal=0.1)

    class Single:
        def root(self, problems: Any) -> Any:
            states, logits, value = twins.root(problems)
            return states, np.logaddexp(logits[:, ::2], logits[:, 1::2]), value

        def expand(self, states: Any, actions: Any) -> Any:
            after, reward, terminal, logits, value = twins.expand(states, 2 * actions)
            return after, reward, terminal, np.logaddexp(logits[:, ::2], logits[:, 1::2]), value

    starts = twins.starts(6)
    merged, single = run("puct", twins, starts, sims=50), run("puct", Single(), starts, sims=50)
    np.testing.assert_array_equal(merged.visits_BA[:, ::2], single.visits_BA)
    np.testing.assert_allclose(merged.value_B, single.value_B, atol=1e-9)


@pytest.mark.parametrize(
    "algorithm", ["gumbel", "puct", "uct", "widening", "beam", "ab_mcts", "cola_reference", "dvts"]
)
@pytest.mark.parametrize("flying", [1, 4])
def test_discovered_twins_are_merged(algorithm: str, flying: int) -> None:
    world = Twins(False, terminal=0.0)
    starts = world.starts(5)
    chosen, search = searched(algorithm, world, starts, 60, merge_equal_states=True, leaves_in_flight=flying)
    out = conclude(chosen, search)
    assert not search.tree.in_flight_BNA.any()
    assert (out.expanded_B > out.sims_B).any(), "discovering a twin costs a row but no simulation"
    np.testing.assert_array_equal(out.tree.size_B, out.sims_B + 1)
    for place in range(5):
        np.testing.assert_allclose(out.tree.prior[place, 0].sum(), 1)
        for node in range(int(out.tree.size_B[place])):
            seen = out.tree.edge_visits[place, node]
            legal = out.tree.prior[place, node] > 0
            assert not seen[~legal].any(), "an alias has no visits of its own"
            assert (np.minimum(seen[::2], seen[1::2]) == 0).all(), "of two twins one is left"
            assert out.tree.visits[place, node] == 1 + seen.sum()
    assert (out.tree.effective_branching() < 1).all()


def test_nan_survives_the_merge_of_priors() -> None:
    world = Twins(True, terminal=0.0)
    world.logits_SA[3, 5] = np.nan
    out = run("gumbel", world, [3, 4], sims=2, max_depth=1)
    assert out.stop_B[0] is StopReason.NAN
