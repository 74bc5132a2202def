"""Other search libraries on the toy world, for comparison; each is optional.

A peer is a function ``(world, starts, sims) -> callable``: it does what can be done ahead (compiling, for one), and
the callable runs one search of all trees to the end. Peers that are not installed raise ``ModuleNotFoundError``.
"""

from __future__ import annotations

from collections.abc import Callable
from importlib import import_module
from typing import Any

import numpy as np

from colasearch.benchmarks.measurements.toy import ToyWorld

Job = Callable[[], object]


def mctx_gumbel(world: ToyWorld, starts: list[int], sims: int) -> Job:
    """Search with mctx ``gumbel_muzero_policy``, jitted and compiled ahead: the same job as our ``gumbel``."""
    return _mctx(world, starts, sims, "gumbel_muzero_policy", {"max_num_considered_actions": 16})


def mctx_puct(world: ToyWorld, starts: list[int], sims: int) -> Job:
    """Search with mctx ``muzero_policy`` without noise, jitted and compiled ahead: the same job as our ``puct``."""
    return _mctx(world, starts, sims, "muzero_policy", {"dirichlet_fraction": 0.0})


def _mctx(world: ToyWorld, starts: list[int], sims: int, policy: str, options: dict[str, Any]) -> Job:
    jax: Any = import_module("jax")
    mctx: Any = import_module("mctx")
    jnp = jax.numpy
    tables = [jnp.asarray(array) for array in (world.next_SA, world.logits_SA, world.reward_SA, world.value_S)]
    after_SA, logits_SA, reward_SA, value_S = tables
    terminal_S = jnp.asarray(world.terminal_S)

    def step(params: Any, key: Any, action: Any, state: Any) -> Any:
        after = jnp.where(terminal_S[state], state, after_SA[state, action])
        output = mctx.RecurrentFnOutput(
            reward=jnp.where(terminal_S[state], 0.0, reward_SA[state, action]),
            discount=jnp.where(terminal_S[after], 0.0, world.discount).astype(reward_SA.dtype),
            prior_logits=logits_SA[after],
            value=value_S[after],
        )
        return output, after

    def search(states: Any, key: Any) -> Any:
        root = mctx.RootFnOutput(prior_logits=logits_SA[states], value=value_S[states], embedding=states)
        out = getattr(mctx, policy)((), key, root, step, num_simulations=sims, **options)
        return out.action, out.action_weights, out.search_tree.node_values[:, 0]

    states, key = jnp.asarray(starts), jax.random.PRNGKey(0)
    compiled = jax.jit(search).lower(states, key).compile()
    return lambda: jax.block_until_ready(compiled(states, key))


def treequest_mcts(world: ToyWorld, starts: list[int], sims: int) -> Job:
    """Search with treequest ``StandardMCTS``: one sample an action, in place (its fast way), tree after tree.

    A lighter job: treequest knows no priors and tries all actions of a node, from a queue, before it selects again;
    with 64 actions and 64 simulations it selects once, where we select 64 times.
    """
    treequest: Any = import_module("treequest")

    def run() -> object:
        trees = []
        for start in starts:
            steps = {str(action): _treequest_step(world, start, action) for action in range(world.next_SA.shape[1])}
            algorithm = treequest.StandardMCTS(samples_per_action=1)
            state = algorithm.init_tree()
            for _ in range(sims):
                state = algorithm.step(state, steps, inplace=True)
            trees.append(state)
        return trees

    return run


def treequest_ab_mcts(world: ToyWorld, starts: list[int], sims: int) -> Job:
    """Search with treequest ``ABMCTSA``, in place, tree after tree: the same idea as our ``ab_mcts``."""
    treequest: Any = import_module("treequest")

    def run() -> object:
        trees = []
        for start in starts:
            steps = {str(action): _treequest_step(world, start, action) for action in range(world.next_SA.shape[1])}
            algorithm = treequest.ABMCTSA()
            state = algorithm.init_tree()
            for _ in range(sims):
                state = algorithm.step(state, steps, inplace=True)
            trees.append(state)
        return trees

    return run


def _treequest_step(world: ToyWorld, start: int, action: int) -> Callable[[int | None], tuple[int, float]]:
    def step(state: int | None) -> tuple[int, float]:
        at = start if state is None else state
        after = int(world.next_SA[at, action])
        return after, float(np.float64(world.value_S[after]))

    return step


PEERS: dict[str, Callable[[ToyWorld, list[int], int], Job]] = {
    "mctx gumbel": mctx_gumbel,
    "mctx puct": mctx_puct,
    "treequest mcts": treequest_mcts,
    "treequest ab_mcts": treequest_ab_mcts,
}
"""Peers by the name that reports use."""
