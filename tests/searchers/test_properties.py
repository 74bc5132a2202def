"""Properties that hold for every algorithm on any world, over some hundreds of random ones."""

from __future__ import annotations

import sys
from typing import Any

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from naive import Naive
from worlds import TableWorld

from colasearch.searchers import ALGORITHMS, Outcome, Search, begin, conclude, evaluations, run
from colasearch.searchers.descent import Descent

DESCENTS = ["gumbel", "puct", "uct", "widening"]


def examples(count: int) -> settings:
    """``count`` random worlds; under ``--slow`` twenty times as many."""
    count *= 20 if "--slow" in sys.argv else 1
    return settings(
        max_examples=count, deadline=None, suppress_health_check=[HealthCheck.too_slow], derandomize=True
    )  # fmt: skip


@st.composite
def worlds(draw: st.DrawFn, two_players: bool = True) -> TableWorld:
    return TableWorld(
        draw(st.integers(0, 2**32 - 1)),
        states=draw(st.integers(3, 40)),
        actions=draw(st.integers(1, 7)),
        discount=draw(st.sampled_from([1.0, 0.9, 0.0, *([-1.0] if two_players else [])])),
        terminal=draw(st.sampled_from([0.0, 0.2, 0.6])),
        illegal=draw(st.sampled_from([0.0, 0.4])),
        only_at_end=draw(st.booleans()),
    )


def same_tree(one: Search, other: Search) -> None:
    """Every array of two searches is equal to the bit."""
    assert one.stop_B == other.stop_B
    for name, array in vars(one.tree).items():
        if isinstance(array, np.ndarray) and name.endswith(("_B", "_BN", "_BNA")) and name != "next_BN":
            np.testing.assert_array_equal(array, getattr(other.tree, name), err_msg=name)


def tell_all(search: Search, world: TableWorld) -> int:
    """Drive a search to its end; returns the most leaves that one tree had in flight."""
    most = 0
    while len(leaves := search.ask()):
        most = max(most, int(np.bincount(leaves.tree_L).max()))
        search.tell(leaves.ticket_L, evaluations(world, leaves.states, leaves.action_L, search.tree.num_actions))
    return most


def check_tree(world: TableWorld, out: Outcome, sims: int) -> None:
    tree = out.tree
    for place in range(len(out.sims_B)):
        size = int(tree.size_B[place])
        assert out.sims_B[place] <= sims
        assert tree.visits[place, 0] == out.sims_B[place] + 1
        assert out.visits_BA[place].sum() == out.sims_B[place]
        assert size == out.expanded_B[place] + 1
        for node in range(size):
            children = [int(child) for child in tree.children[place, node] if child >= 0]
            if tree.finished[place, node]:
                assert not children
            else:
                assert tree.visits[place, node] == 1 + tree.edge_visits[place, node].sum()
            for action, child in enumerate(tree.children[place, node]):
                if child >= 0:
                    assert node < child < size, "a cycle, or a slot out of use"
                    assert tree.parents[place, child] == node
                    assert tree.actions[place, child] == action
                    assert tree.edge_visits[place, node, action] == tree.visits[place, child] > 0
                    expected = tree.rewards[place, child] + world.discount * tree.values[place, child]
                    assert tree.q[place, node, action] == pytest.approx(expected, abs=1e-12)
        if out.best_action_B[place] >= 0:
            assert tree.prior[place, 0, out.best_action_B[place]] > 0
        assert out.policy_target_BA[place].sum() == pytest.approx(1)
        assert not out.policy_target_BA[place][tree.prior[place, 0] == 0].any()


@examples(60)
@given(st.data())
def test_counts_add_up_for_every_algorithm(data: st.DataObject) -> None:
    algorithm = data.draw(st.sampled_from(sorted(ALGORITHMS)))
    world = data.draw(worlds(two_players=algorithm in DESCENTS))
    starts = world.starts(3)
    sims, flying = data.draw(st.integers(1, 40)), data.draw(st.sampled_from([1, 2, 5]))
    chosen, search = begin(algorithm, world, starts, sims=sims, leaves_in_flight=flying)
    assert tell_all(search, world) <= flying
    check_tree(world, conclude(chosen, search), sims)
    assert not search.tree.in_flight_BNA.any(), "in-flight counters did not drain"
    assert not search.asked_B.any()


@examples(25)
@given(st.data())
def test_values_stay_within_the_bounds_of_the_rewards(data: st.DataObject) -> None:
    algorithm = data.draw(st.sampled_from(sorted(ALGORITHMS)))
    world = data.draw(worlds(two_players=algorithm in DESCENTS))
    world.reward_SA[~world.terminal_S[world.next_SA]] = 0.0
    options = {"max_backup": data.draw(st.sampled_from([0.0, 0.3, 1.0]))} if algorithm in DESCENTS else {}
    out = run(algorithm, world, world.starts(3), sims=data.draw(st.integers(1, 40)), **options)
    low = -1.0 if world.discount < 0 else 0.0
    assert (out.tree.values >= low - 1e-12).all()
    assert (out.tree.values <= 1 + 1e-12).all()
    assert (out.tree.q >= low - 1e-12).all()
    assert (out.tree.q <= 1 + 1e-12).all()


@examples(17)
@given(st.data())
def test_tell_in_any_order_and_twice_gives_the_same_tree(data: st.DataObject) -> None:
    algorithm = data.draw(st.sampled_from(sorted(ALGORITHMS)))
    world = data.draw(worlds(two_players=algorithm in DESCENTS))
    starts = world.starts(4)
    arguments: dict[str, Any] = {
        "sims": data.draw(st.integers(1, 30)),
        "leaves_in_flight": data.draw(st.integers(1, 6)),
    }
    _, straight = begin(algorithm, world, starts, **arguments)
    tell_all(straight, world)
    _, shuffled = begin(algorithm, world, starts, **arguments)
    rng = np.random.default_rng(data.draw(st.integers(0, 1000)))
    while len(shuffled.ask()) or len(shuffled.outstanding()):
        waiting = shuffled.outstanding()
        answer = evaluations(world, waiting.states, waiting.action_L, shuffled.tree.num_actions)
        # Some leaves, in any order, some of them twice in one call, and the same again in a later call.
        index = rng.permutation(np.repeat(np.arange(len(waiting)), rng.integers(0, 3, len(waiting))))
        shuffled.tell(waiting.ticket_L[index], answer.take(index))
        shuffled.tell(waiting.ticket_L[index[:2]], answer.take(index[:2]))
    same_tree(straight, shuffled)


@examples(25)
@given(st.data())
def test_batch_mates_change_nothing(data: st.DataObject) -> None:
    algorithm = data.draw(st.sampled_from(sorted(ALGORITHMS)))
    world = data.draw(worlds(two_players=algorithm in DESCENTS))
    starts = world.starts(5)

    class Named(int):
        @property
        def id(self) -> str:
            return f"problem-{int(self)}"

    arguments: dict[str, Any] = {
        "sims": data.draw(st.integers(1, 30)),
        "leaves_in_flight": data.draw(st.integers(1, 4)),
    }
    together = run(algorithm, world, [Named(start) for start in starts], **arguments)
    place = data.draw(st.integers(0, len(starts) - 1))
    alone = run(algorithm, world, [Named(starts[place])], **arguments)
    size = int(alone.tree.size_B[0])
    assert size == together.tree.size_B[place]
    for name in ("children", "visits", "values", "q", "prior", "states"):
        np.testing.assert_array_equal(getattr(alone.tree, name)[0], getattr(together.tree, name)[place, :size])
    np.testing.assert_array_equal(alone.policy_target_BA[0], together.policy_target_BA[place])
    assert alone.best_action_B[0] == together.best_action_B[place]


@examples(60)
@given(st.data())
def test_puct_and_gumbel_equal_a_naive_serial_search(data: st.DataObject) -> None:
    algorithm = data.draw(st.sampled_from(["puct", "gumbel"]))
    world = data.draw(worlds())
    sims = data.draw(st.integers(1, 40))
    noise = np.random.default_rng(data.draw(st.integers(0, 99))).gumbel(size=world.logits_SA.shape[1])
    starts = world.starts(3)
    options = {"root_gumbel": noise, "max_num_considered_actions": 4} if algorithm == "gumbel" else {}
    out = run(algorithm, world, starts, sims=sims, **options)
    for place, start in enumerate(starts):
        naive = Naive(world, start, algorithm, noise.tolist(), m=4)
        assert naive.search(sims) == out.visits_BA[place].tolist()
        assert naive.root.mean == pytest.approx(out.value_B[place], abs=1e-9)
        mine = [tuple(out.tree.path(place, slot)) for slot in range(1, int(out.tree.size_B[place]))]
        assert mine == naive.expanded


@examples(17)
@given(st.data())
def test_parallel_machinery_with_one_leaf_equals_the_serial_tree(data: st.DataObject) -> None:
    """With the in-flight counters at work but one leaf at a time, every bit is that of the serial search."""
    algorithm = data.draw(st.sampled_from(DESCENTS))
    world = data.draw(worlds())
    starts, sims = world.starts(3), data.draw(st.integers(1, 30))
    options = {"in_flight": data.draw(st.sampled_from(["wu", "virtual_loss"]))}
    _, serial = begin(algorithm, world, starts, sims=sims, **options)
    tell_all(serial, world)
    _, parallel = begin(algorithm, world, starts, sims=sims, leaves_in_flight=3, **options)
    assert isinstance(parallel.strategy, Descent)
    rule = parallel.strategy.rule

    class OneAtATime:
        choose, choose_root, decided = rule.choose, rule.choose_root, rule.decided

        def may_go_on(self, search: Search, tree_T: np.ndarray) -> np.ndarray:
            return np.zeros(tree_T.size, np.bool_)

    parallel.strategy.rule = OneAtATime()
    assert tell_all(parallel, world) <= 1
    same_tree(serial, parallel)


@pytest.mark.parametrize("algorithm", sorted(ALGORITHMS))
@pytest.mark.parametrize("flying", [1, 5])
def test_growing_the_arrays_changes_nothing(algorithm: str, flying: int) -> None:
    world = TableWorld(21, states=500, actions=5, terminal=0.05, discount=0.9)
    searches = []
    for capacity in (2, 1000):
        _, search = begin(algorithm, world, world.starts(4), sims=60, leaves_in_flight=flying)
        tree = search.tree
        for name, array in list(vars(tree).items()):
            if name.endswith(("_BN", "_BNA")):  # as if the search had started with this capacity
                setattr(tree, name, array[:, : min(capacity, tree.capacity)].copy())
        tree.capacity = min(capacity, tree.capacity)
        tree._view()
        tree.reserve(capacity)
        tell_all(search, world)
        searches.append(search)
    for name, array in vars(searches[0].tree).items():
        if isinstance(array, np.ndarray) and name.endswith(("_BN", "_BNA")) and name != "next_BN":
            size = int(searches[0].tree.size_B.max())
            np.testing.assert_array_equal(array[:, :size], getattr(searches[1].tree, name)[:, :size], err_msg=name)
