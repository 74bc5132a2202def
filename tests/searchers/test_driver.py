"""The one call: budgets, callbacks, limits, sloppy worlds, and errors that say what to do."""

from __future__ import annotations

import inspect
import subprocess
import sys
from typing import Any

import numpy as np
import pytest
from worlds import ExactMdp, TableWorld

from colasearch.errors import InputError
from colasearch.problem import Problem, StopReason
from colasearch.searchers import ALGORITHMS, Gumbel, Progress, Puct, begin, conclude, drive, evaluations, run


@pytest.fixture
def world() -> TableWorld:
    return TableWorld(4, states=500, actions=8, terminal=0.1)


def test_no_simulation_at_all_still_gives_a_valid_outcome(world: TableWorld) -> None:
    for algorithm in ALGORITHMS:
        out = run(algorithm, world, world.starts(3), sims=8, should_stop=lambda: StopReason.INTERRUPTED)
        assert out.stop_B == [StopReason.INTERRUPTED] * 3
        assert not out.visits_BA.any()
        assert not out.sims_B.any()
        np.testing.assert_allclose(out.policy_target_BA.sum(axis=1), 1)
        np.testing.assert_array_equal(out.value_B, world.value_S[world.starts(3)])
        assert (world.logits_SA[world.starts(3), out.best_action_B] > -np.inf).all()
        assert not out.best_node_B.any()
        assert out.candidates_B == [[], [], []]
    assert world.calls == 0


def test_should_stop_is_polled_before_every_call_of_the_world(world: TableWorld) -> None:
    polls = []

    def stop() -> StopReason | None:
        polls.append(world.calls)
        return StopReason.INTERRUPTED if len(polls) == 4 else None

    out = run("gumbel", world, world.starts(2), sims=50, should_stop=stop)
    assert polls == [0, 1, 2, 3]
    assert set(out.stop_B) == {StopReason.INTERRUPTED}
    assert (out.sims_B >= 3).all()


def test_on_round_counts_up_to_the_total(world: TableWorld) -> None:
    seen: list[Progress] = []
    out = run("puct", world, world.starts(3), sims=10, on_round=seen.append)
    assert [p.sims for p in seen] == sorted(p.sims for p in seen)
    assert {p.sims_total for p in seen} == {30}
    assert len(seen) == world.calls
    assert seen[-1].sims <= 30 == out.sims_B.sum()
    assert seen[0].active == 3


def test_seconds_and_tokens_limit_a_search(world: TableWorld) -> None:
    slow = TableWorld(4, states=500, actions=8, terminal=0.0)
    slow.tokens = lambda states: np.full(len(states), 7)  # type: ignore[attr-defined]
    out = run("gumbel", slow, [1, 2], sims=100, max_tokens=50)
    assert out.stop_B == [StopReason.MAX_TOKENS] * 2
    assert out.sims_B.tolist() == [8, 8]  # 7 rounds cost 49, the 8th passes 50
    out = run("gumbel", slow, [1, 2], sims=100, max_seconds=0)
    assert out.stop_B == [StopReason.MAX_SECONDS] * 2
    out = run("gumbel", slow, [1, 2], sims=100, max_seconds=3600, max_tokens=10**9)
    assert out.stop_B == [StopReason.BUDGET] * 2
    with pytest.raises(InputError, match="tokens"):
        run("gumbel", world, [1], max_tokens=5)


def test_early_stop_ends_decided_and_explored_trees() -> None:
    known = ExactMdp(50, margin=0.0)
    optimal = [known.q_A(seed).argmax() for seed in range(50)]
    early = run("uct", known, list(range(50)), sims=3000, early_stop=True, exploration=20.0)
    assert set(early.stop_B) == {StopReason.EXHAUSTED}
    assert early.sims_B.max() < 3000
    assert early.best_action_B.tolist() == optimal, "an explored tree is decided by its exact values"
    assert run("uct", known, [0], sims=3000, exploration=20.0).sims_B.tolist() == [3000]


@pytest.mark.parametrize("algorithm", ["puct", "uct", "widening", "gumbel"])
def test_early_stop_never_changes_the_choice(algorithm: str) -> None:
    """Stopping because the lead cannot be lost: the full search chooses the same."""
    wide = TableWorld(6, states=3000, actions=4, terminal=0.02, illegal=0.1, rewards=(0.0, 0.1))
    starts = wide.starts(60)
    full, early = (run(algorithm, wide, starts, sims=80, early_stop=stop) for stop in (False, True))
    np.testing.assert_array_equal(full.best_action_B, early.best_action_B)
    if algorithm != "gumbel":
        assert early.stop_B.count(StopReason.EARLY) > 5
        assert early.sims_B.sum() < full.sims_B.sum()


def test_a_root_with_one_legal_action_is_decided_for_gumbel() -> None:
    class OneWay(TableWorld):
        def root(self, problems: Any) -> Any:
            states, _, value = super().root(problems)
            return states, np.where(np.arange(8) == 3, 0.0, -np.inf)[None].repeat(len(states), 0), value

        def expand(self, states: Any, actions: Any) -> Any:
            return super().expand(states, np.where(np.isinf(self.logits_SA[states, actions]), 0, actions))

    out = run("gumbel", OneWay(4, states=50, actions=8, illegal=0.0), [0], sims=9, early_stop=True)
    assert out.stop_B == [StopReason.EARLY]
    assert out.best_action_B.tolist() == [3]
    assert out.sims_B.tolist() == [0]


def test_a_root_without_legal_actions_is_exhausted_and_has_no_action(world: TableWorld) -> None:
    world.logits_SA[2] = -np.inf
    out = run("gumbel", world, [1, 2, 3], sims=5)
    assert out.stop_B == ["budget", "exhausted", "budget"]
    assert out.best_action_B[1] == -1
    assert out.visits_BA[1].sum() == 0


def test_worlds_may_return_lists_and_any_number_type(world: TableWorld) -> None:
    class Sloppy:
        def root(self, problems: Any) -> Any:
            states, logits, value = world.root(problems)
            return states.tolist(), logits.astype(np.float32), value.astype(np.float32)[:, None].tolist()

        def expand(self, states: Any, actions: Any) -> Any:
            after, reward, terminal, logits, value = world.expand(np.asarray(states), actions)
            return after.tolist(), reward.tolist(), terminal.astype(int).tolist(), logits.tolist(), value[:, None]

    neat, sloppy = (run("gumbel", w, world.starts(4), sims=20) for w in (world, Sloppy()))
    np.testing.assert_array_equal(neat.visits_BA, sloppy.visits_BA)
    np.testing.assert_allclose(neat.value_B, sloppy.value_B, atol=1e-6)


def test_states_may_have_any_trailing_shape(world: TableWorld) -> None:
    class Matrix:
        def root(self, problems: Any) -> Any:
            states, logits, value = world.root(problems)
            return np.broadcast_to(states[:, None, None], (len(states), 2, 2)), logits, value

        def expand(self, states: Any, actions: Any) -> Any:
            assert states.shape[1:] == (2, 2)
            after, *rest = world.expand(states[:, 1, 1], actions)
            return np.broadcast_to(after[:, None, None], (len(after), 2, 2)), *rest

    plain, matrix = (run("puct", w, world.starts(4), sims=20) for w in (world, Matrix()))
    np.testing.assert_array_equal(plain.visits_BA, matrix.visits_BA)
    assert matrix.tree.states.shape[2:] == (2, 2)


def test_randomness_is_keyed_by_seed_and_problem() -> None:
    world = TableWorld(4, states=500, actions=64)
    problems = [Problem(id=name, text="") for name in ("a", "b", "a")]
    world.root = lambda problems: TableWorld.root(world, [5] * len(problems))  # type: ignore[method-assign]
    first, again, other = (run("gumbel", world, problems, sims=16, seed=seed).visits_BA for seed in (0, 0, 1))
    np.testing.assert_array_equal(first, again)
    np.testing.assert_array_equal(first[0], first[2])
    assert (first[0] != first[1]).any()
    assert (first[0] != other[0]).any()


def test_dirichlet_noise_changes_the_root_prior_only(world: TableWorld) -> None:
    starts = world.starts(3)
    plain, noisy = (run("puct", world, starts, sims=1, dirichlet_fraction=f) for f in (0.0, 0.25))
    assert (plain.tree.prior[:, 0] != noisy.tree.prior[:, 0]).any()
    np.testing.assert_allclose(noisy.tree.prior[:, 0].sum(axis=1), 1)
    assert not noisy.tree.prior[:, 0][plain.tree.prior[:, 0] == 0].any(), "illegal stays illegal"
    again = run("puct", world, starts, sims=1, dirichlet_fraction=0.25)
    np.testing.assert_array_equal(noisy.tree.prior[:, 0], again.tree.prior[:, 0])


def test_virtual_loss_and_wu_counts_spread_leaves_and_leave_no_trace() -> None:
    wide = TableWorld(9, actions=64, terminal=0.0, illegal=0.0, sharpness=0.3)
    for in_flight in ("wu", "virtual_loss"):
        chosen, search = begin("puct", wide, wide.starts(8), sims=64, leaves_in_flight=8, in_flight=in_flight)
        leaves = search.ask()
        for tree in range(8):
            mine = leaves.tree_L == tree
            edges = set(zip(leaves.node_L[mine].tolist(), leaves.action_L[mine].tolist(), strict=True))
            assert len(edges) == mine.sum() > 1, "several different leaves fly at once"
        assert search.tree.in_flight_BNA.sum() >= len(leaves)
        result = evaluations(wide, leaves.states, leaves.action_L, 64)
        search.tell(leaves.ticket_L, result)
        assert not search.tree.in_flight_BNA.any()
        drive(search, wide)
        assert (conclude(chosen, search).visits_BA.sum(axis=1) == 64).all()


def test_fewer_calls_with_leaves_in_flight() -> None:
    wide = TableWorld(9, actions=64, terminal=0.0, illegal=0.0)
    calls = {}
    for flying in (1, 16):
        wide.calls = 0
        run("gumbel", wide, wide.starts(4), sims=64, leaves_in_flight=flying)
        calls[flying] = wide.calls
    assert calls[1] == 64
    assert calls[16] <= 12, "16 + 8x2 + 4x4 + 2x8 fit into a handful of calls"


def test_gumbel_phases_keep_their_survivors_apart() -> None:
    """No leaf of a halving phase is asked before all results of the phase before are in."""
    wide = TableWorld(9, actions=64, terminal=0.0, illegal=0.0)
    _, search = begin("gumbel", wide, wide.starts(4), sims=64, leaves_in_flight=64)
    sizes = []
    while len(leaves := search.ask()):
        sizes.append(np.bincount(leaves.tree_L).max())
        search.tell(leaves.ticket_L, evaluations(wide, leaves.states, leaves.action_L, 64))
    assert sizes[0] == 16
    assert max(sizes[1:]) <= 16


@pytest.mark.parametrize(
    ("algorithm", "options", "words"),
    [
        ("gumbel", {"sims": 0}, ["sims is 0", "at least 1"]),
        ("gumbel", {"sims": -3}, ["sims is -3"]),
        ("gumbel", {"leaves_in_flight": 0}, ["leaves_in_flight is 0"]),
        ("gumbel", {"max_depth": 0}, ["max_depth is 0"]),
        ("gumbel", {"max_seconds": -1}, ["max_seconds is -1"]),
        ("gumbel", {"pb_c_init": 1.0}, ["gumbel has no option 'pb_c_init'", "value_scale"]),
        ("gumbel", {"max_num_considered_actions": 0}, ["max_num_considered_actions is 0"]),
        ("gumbel", {"gumbel_scale": -1.0}, ["gumbel_scale is -1"]),
        ("gumbel", {"root_gumbel": [0.0]}, ["root_gumbel has shape (1,)"]),
        ("gumbel", {"max_backup": 1.5}, ["max_backup is 1.5", "0 (mean) to 1 (max)"]),
        ("gumbel", {"in_flight": "hope"}, ["in_flight is 'hope'", "virtual_loss"]),
        ("puct", {"q_transform": "raw"}, ["q_transform is 'raw'", "by_min_max"]),
        ("puct", {"min_value": 1.0}, ["max_value 1.0 is not above min_value 1.0"]),
        ("puct", {"dirichlet_fraction": 2.0}, ["dirichlet_fraction is 2.0"]),
        ("uct", {"exploration": float("nan")}, ["exploration is nan"]),
        ("widening", {"widening_factor": 0.5}, ["widening_factor is 0.5"]),
        ("beam", {"width": 0}, ["width is 0"]),
        ("diverse_beam", {"width": 4, "groups": 3}, ["groups 3 does not divide width 4"]),
        ("dvts", {"subtrees": 0}, ["subtrees is 0"]),
        ("rebase", {"temperature": 0}, ["temperature is 0", "beam"]),
        ("best_of_n", {"temperature": 0}, ["temperature is 0", "greedy"]),
        ("best_of_n", {"samples": 0}, ["samples is 0"]),
        ("ab_mcts", {"prior_strength": 0}, ["prior_strength is 0"]),
        ("cola_reference", {"td_threshold": -1}, ["td_threshold is -1"]),
        ("alphabeta", {}, ["unknown algorithm 'alphabeta'", "gumbel", "puct"]),
    ],
)
def test_bad_options_say_value_rule_and_fix(
    world: TableWorld, algorithm: str, options: dict[str, Any], words: list[str]
) -> None:
    with pytest.raises(InputError) as error:
        run(algorithm, world, [1], **options)
    for word in words:
        assert word in str(error.value)
    assert world.calls == 0


def test_options_beside_an_object_are_refused(world: TableWorld) -> None:
    assert run(Gumbel(gumbel_scale=0.0), world, [1], sims=4).sims_B.tolist() == [4]
    with pytest.raises(InputError, match="set them on the object"):
        run(Puct(), world, [1], sims=4, pb_c_init=2.0)


@pytest.mark.parametrize(
    ("broken", "words"),
    [
        ({"logits": np.zeros((2, 3))}, "prior logits of shape"),
        ({"value": np.zeros(5)}, "values of shape"),
        ({"reward": [0.0, 0.0, 0.0]}, "rewards of shape"),
        ({"terminal": []}, "terminal flags of shape"),
        ({"states": [1, 2, 3]}, "states of shape"),
    ],
)
def test_a_world_that_breaks_its_contract_is_told_how(world: TableWorld, broken: dict[str, Any], words: str) -> None:
    class Broken:
        def root(self, problems: Any) -> Any:
            return world.root(problems)

        def expand(self, states: Any, actions: Any) -> Any:
            names = ("states", "reward", "terminal", "logits", "value")
            return [broken.get(name, array) for name, array in zip(names, world.expand(states, actions), strict=True)]

    with pytest.raises(InputError, match=words):
        run("gumbel", Broken(), [1], sims=4)


def test_a_discount_out_of_range_is_refused(world: TableWorld) -> None:
    world.discount = 1.5
    with pytest.raises(InputError, match=r"discount is 1\.5"):
        run("gumbel", world, [1])


def test_depth_cap_is_terminal_and_does_not_eat_the_budget() -> None:
    deep = TableWorld(3, states=400, actions=3, terminal=0.0, illegal=0.0)
    for algorithm in ALGORITHMS:
        out = run(algorithm, deep, deep.starts(3), sims=30, max_depth=2)
        assert out.tree.depths.max() == 2
        if algorithm in ("gumbel", "puct", "uct"):
            assert (out.sims_B == 30).all()
        capped = out.tree.depths == 2
        assert out.tree.finished[capped].all()


def test_searchers_import_numpy_and_the_standard_library_only() -> None:
    code = (
        "import sys; import colasearch.searchers; "
        "bad = {'torch', 'jax', 'mctx', 'numba', 'transformers', 'click', 'rich'} & set(sys.modules); "
        "sys.exit(repr(bad) if bad else 0)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr


def test_contract_signature() -> None:
    """Names and defaults that design.md promises to callers."""
    parameters = inspect.signature(run).parameters
    assert list(parameters)[:3] == ["algorithm", "world", "problems"]
    assert parameters["sims"].default == 64
    gumbel = Gumbel()
    assert (gumbel.max_num_considered_actions, gumbel.gumbel_scale, gumbel.value_scale) == (16, 1.0, 0.1)
    assert (gumbel.maxvisit_init, gumbel.rescale_values) == (50.0, True)
    assert (Puct().pb_c_init, Puct().pb_c_base, Puct().q_transform) == (1.25, 19652, "by_parent_and_siblings")


def test_the_first_telling_of_a_leaf_stands() -> None:
    """A late duplicate from a worker that was given up for lost cannot change the tree, whatever it says."""
    world = TableWorld(4, states=500, actions=8, illegal=0.0, sharpness=0.1)
    chosen, search = begin("puct", world, world.starts(2), sims=4, leaves_in_flight=4)
    leaves = search.ask()
    assert len(leaves) > 3
    good = evaluations(world, leaves.states, leaves.action_L, 8)
    wrong = evaluations(world, leaves.states, leaves.action_L, 8)
    wrong.value_L[:] += 100
    wrong.reward_L[:] += 100
    search.tell(leaves.ticket_L[:2], good.take(np.arange(2)))
    search.tell(leaves.ticket_L[:2], wrong.take(np.arange(2)))
    search.tell(leaves.ticket_L[2:], good.take(np.arange(2, len(leaves))))
    search.tell(leaves.ticket_L, wrong)
    assert search.tree.values_BN.max() < 50
    drive(search, world)
    expected = run("puct", world, world.starts(2), sims=4, leaves_in_flight=4)
    np.testing.assert_array_equal(conclude(chosen, search).value_B, expected.value_B)


def test_unknown_tickets_are_ignored(world: TableWorld) -> None:
    _, search = begin("puct", world, world.starts(2), sims=4)
    leaves = search.ask()
    good = evaluations(world, leaves.states, leaves.action_L, 8)
    search.tell(leaves.ticket_L + 1000, good)
    search.tell(leaves.ticket_L - 1000, good)
    assert len(search.outstanding()) == 2
    assert len(search.ask()) == 0, "what is in flight is not handed out again"
