"""Differential tests against mctx: same world, same visits, same order of expansion, same values."""

from __future__ import annotations

import functools
from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest
from worlds import TableWorld

from colasearch.searchers import Outcome, run

jax = pytest.importorskip("jax", reason="mctx and JAX are not installed: pip install '.[dev]'")
mctx = pytest.importorskip("mctx", reason="mctx is not installed: pip install '.[dev]'")

TREES = 256


@pytest.fixture(autouse=True)
def _double_precision() -> Iterator[None]:
    """In float32 the two programs round differently; in float64 they must agree to 1e-9."""
    before = jax.config.jax_enable_x64
    jax.config.update("jax_enable_x64", True)
    yield
    jax.config.update("jax_enable_x64", before)


@functools.cache
def compiled(algorithm: str, sims: int, options: tuple[tuple[str, Any], ...]) -> Any:
    """mctx's search over table worlds, jitted once a configuration; tables, starts and discount are arguments."""
    jnp = jax.numpy
    policy = {"puct": mctx.muzero_policy, "gumbel": mctx.gumbel_muzero_policy}[algorithm]

    def step(tables: Any, key: Any, action: Any, state: Any) -> Any:
        after_SA, logits_SA, reward_SA, value_S, terminal_S, discount = tables
        after = jnp.where(terminal_S[state], state, after_SA[state, action])
        reward = jnp.where(terminal_S[state], 0.0, reward_SA[state, action])
        weight = jnp.where(terminal_S[after], 0.0, discount)
        return mctx.RecurrentFnOutput(
            reward=reward, discount=weight, prior_logits=logits_SA[after], value=value_S[after]
        ), after

    @jax.jit
    def search(tables: Any, starts: Any) -> Any:
        root = mctx.RootFnOutput(prior_logits=tables[1][starts], value=tables[3][starts], embedding=starts)
        return policy(
            tables, jax.random.PRNGKey(0), root, step, num_simulations=sims,
            invalid_actions=jnp.isneginf(root.prior_logits), **dict(options),
        )  # fmt: skip

    return search


def mctx_search(algorithm: str, world: TableWorld, starts: list[int], sims: int, **options: Any) -> Any:
    jnp = jax.numpy
    search = compiled(algorithm, sims, tuple(options.items()))
    tables = (world.next_SA, world.logits_SA, world.reward_SA, world.value_S, world.terminal_S, world.discount)
    return search(jax.tree.map(jnp.asarray, tables), jnp.asarray(starts))


def expansions(parents: np.ndarray, actions: np.ndarray, over: np.ndarray) -> list[tuple[int, int]]:
    """(parent, action) in the order of expansion, without mctx's copies of nodes below a terminal one."""
    number = {0: 0}
    order = []
    for node in range(1, len(parents)):
        above = int(parents[node])
        if above in number and not over[above]:
            number[node] = len(number)
            order.append((number[above], int(actions[node])))
    return order


def assert_same(world: TableWorld, theirs: Any, ours: Outcome) -> None:
    tree = theirs.search_tree
    summary = tree.summary()
    np.testing.assert_array_equal(np.asarray(summary.visit_counts), ours.visits_BA)
    np.testing.assert_allclose(np.asarray(summary.value), ours.value_B, rtol=0, atol=1e-9)
    np.testing.assert_allclose(np.asarray(theirs.action_weights), ours.policy_target_BA, rtol=0, atol=1e-9)
    parents, actions = np.asarray(tree.parents), np.asarray(tree.action_from_parent)
    over = world.terminal_S[np.asarray(tree.embeddings)]
    for place in range(len(ours.sims_B)):
        size = int(ours.tree.size_B[place])
        mine = list(zip(ours.tree.parents[place, 1:size], ours.tree.actions[place, 1:size], strict=True))
        assert mine == expansions(parents[place], actions[place], over[place])


def q_options(transform: str) -> Any:
    if transform == "by_min_max":
        return functools.partial(mctx.qtransform_by_min_max, min_value=0.0, max_value=1.0)
    return mctx.qtransform_by_parent_and_siblings


@functools.cache
def world_of(seed: int, discount: float) -> TableWorld:
    # Rewards around 0 keep searches from running down one path, which costs mctx minutes a run.
    return TableWorld(seed, discount=discount, rewards=(-0.3, 0.3))


Q_TRANSFORM = {name: q_options(name) for name in ("by_parent_and_siblings", "by_min_max")}
SLOW = (pytest.mark.slow, pytest.mark.timeout(1500))

CASES = [
    pytest.param(64, 1.0, TREES),
    pytest.param(64, 0.99, TREES),
    pytest.param(64, -1.0, 64),
    pytest.param(256, 0.99, 16),
    pytest.param(256, 1.0, TREES, marks=SLOW),
    pytest.param(256, 0.99, TREES, marks=SLOW),
]


@pytest.mark.parametrize(("sims", "discount", "trees"), CASES)
@pytest.mark.parametrize("transform", ["by_parent_and_siblings", "by_min_max"])
def test_puct_equals_mctx(transform: str, sims: int, discount: float, trees: int) -> None:
    world = world_of(11, discount)
    starts = world.starts(trees)
    theirs = mctx_search("puct", world, starts, sims, dirichlet_fraction=0.0, qtransform=Q_TRANSFORM[transform])
    assert_same(world, theirs, run("puct", world, starts, sims=sims, q_transform=transform))


@pytest.mark.parametrize(("sims", "discount", "trees"), CASES)
@pytest.mark.parametrize("considered", [16, 64])
def test_gumbel_equals_mctx(considered: int, sims: int, discount: float, trees: int) -> None:
    world = world_of(12, discount)
    starts = world.starts(trees)
    theirs = mctx_search("gumbel", world, starts, sims, max_num_considered_actions=considered)
    ours = run(
        "gumbel", world, starts, sims=sims, max_num_considered_actions=considered,
        root_gumbel=np.asarray(theirs.search_tree.extra_data.root_gumbel),
    )  # fmt: skip
    assert_same(world, theirs, ours)
    np.testing.assert_array_equal(np.asarray(theirs.action), ours.best_action_B)


def test_gumbel_options_mean_what_they_mean_in_mctx() -> None:
    world = world_of(13, 0.9)
    starts = world.starts(64)
    transform = functools.partial(
        mctx.qtransform_completed_by_mix_value,
        value_scale=0.4, maxvisit_init=7.0, rescale_values=False, use_mixed_value=False,
    )  # fmt: skip
    theirs = mctx_search(
        "gumbel", world, starts, 32, gumbel_scale=0.0, max_num_considered_actions=8, qtransform=transform
    )
    ours = run(
        "gumbel", world, starts, sims=32, gumbel_scale=0.0, max_num_considered_actions=8,
        value_scale=0.4, maxvisit_init=7.0, rescale_values=False, use_mixed_value=False,
    )  # fmt: skip
    assert_same(world, theirs, ours)


def test_puct_constants_and_depth_cap_mean_what_they_mean_in_mctx() -> None:
    world = world_of(14, 0.9)
    starts = world.starts(64)
    theirs = mctx_search(
        "puct", world, starts, 48, dirichlet_fraction=0.0, pb_c_init=2.5, pb_c_base=10.0, max_depth=2
    )  # fmt: skip
    ours = run("puct", world, starts, sims=48, pb_c_init=2.5, pb_c_base=10.0, max_depth=2)
    np.testing.assert_array_equal(np.asarray(theirs.search_tree.summary().visit_counts), ours.visits_BA)
    np.testing.assert_allclose(np.asarray(theirs.search_tree.summary().value), ours.value_B, rtol=0, atol=1e-9)


def test_the_comparison_can_fail() -> None:
    """A world that differs in one reward, or noise that differs in one entry, is noticed."""
    world = world_of(12, 1.0)
    starts = world.starts(64)
    theirs = mctx_search("gumbel", world, starts, 64, max_num_considered_actions=16)
    noise = np.asarray(theirs.search_tree.extra_data.root_gumbel).copy()
    noise[0, int(np.argmin(world.logits_SA[starts[0]] == -np.inf))] += 30.0
    ours = run("gumbel", world, starts, sims=64, root_gumbel=noise)
    with pytest.raises(AssertionError):
        assert_same(world, theirs, ours)
