"""Records what mctx finds: ``test_mctx.py`` compares our searches with it without waiting for JAX to compile.

    python tests/searchers/record_mctx.py [NAME ...]

Writes ``mctx_record.json`` beside this file: all cases but the slow ones, or those named. Needs mctx and JAX (``pip
install '.[dev]'``). Run it again when a case is new or a table world is drawn otherwise; ``pytest --slow
tests/searchers/test_mctx.py`` compares with mctx itself and shows that the record is true.

A record is small: for each block of trees, a hash of all that is a whole number (visits of the root's actions, order of
expansion, gumbel's choice), and one weighted sum of the root values and one of the policy targets.
"""

from __future__ import annotations

import functools
import hashlib
import json
import sys
from dataclasses import dataclass, field
from importlib.metadata import version
from pathlib import Path
from typing import Any
from unittest import mock

import numpy as np
from worlds import TableWorld

from colasearch.searchers import Outcome, run

RECORD = Path(__file__).with_name("mctx_record.json")
BLOCK = 16
"""Trees that share a hash and sums."""
TREES = 256
DIRECT = ("max_num_considered_actions", "gumbel_scale", "pb_c_init", "pb_c_base", "max_depth")
"""Options that mctx's policies take under our names; others are options of its Q transform."""


@dataclass(frozen=True)
class Case:
    """One search by both programs: ``options`` are ours; ``slow`` ones cost mctx minutes."""

    algorithm: str
    seed: int
    sims: int
    discount: float
    trees: int
    options: dict[str, Any] = field(default_factory=dict)
    slow: bool = False

    @property
    def name(self) -> str:
        said = " ".join(f"{key}={value}" for key, value in self.options.items())
        return f"{self.algorithm} {self.sims} sims, discount {self.discount}, {self.trees} trees, {said}"

    @property
    def world(self) -> TableWorld:
        return world_of(self.seed, self.discount)

    @property
    def starts(self) -> list[int]:
        return self.world.starts(self.trees)

    @property
    def noise_BA(self) -> np.ndarray:
        """The root's Gumbel noise for both programs."""
        return np.random.default_rng(self.seed).gumbel(size=(self.trees, self.world.logits_SA.shape[1]))


@functools.cache
def world_of(seed: int, discount: float) -> TableWorld:
    # Rewards around 0 keep searches from running down one path, which costs mctx minutes a run.
    return TableWorld(seed, discount=discount, rewards=(-0.3, 0.3))


SIZES = [(64, 1.0, TREES, False), (64, 0.99, TREES, False), (64, -1.0, 64, False), (256, 0.99, 16, False),
         (256, 1.0, TREES, True), (256, 0.99, TREES, True)]  # fmt: skip
CASES = [
    *(
        Case("puct", 11, sims, discount, trees, {"q_transform": transform}, slow)
        for transform in ("by_parent_and_siblings", "by_min_max")
        for sims, discount, trees, slow in SIZES
    ),
    *(
        Case("gumbel", 12, sims, discount, trees, {"max_num_considered_actions": considered}, slow)
        for considered in (16, 64)
        for sims, discount, trees, slow in SIZES
    ),
    Case(
        "gumbel", 13, 32, 0.9, 64,
        {"gumbel_scale": 0.0, "max_num_considered_actions": 8, "value_scale": 0.4, "maxvisit_init": 7.0,
         "rescale_values": False, "use_mixed_value": False},
    ),
    Case("puct", 14, 48, 0.9, 64, {"pb_c_init": 2.5, "pb_c_base": 10.0, "max_depth": 2}),
]  # fmt: skip


@dataclass(frozen=True)
class Found:
    """What one program found in ``B`` trees with ``A`` actions."""

    visits_BA: np.ndarray
    value_B: np.ndarray
    policy_BA: np.ndarray
    order_B: list[list[tuple[int, int]]]
    """(parent, action) in the order of expansion; empty under a depth cap, below which mctx goes on expanding."""
    choice_B: np.ndarray
    """Gumbel's choice; zeros for PUCT, which draws it by chance."""


def ours(case: Case, noise_BA: np.ndarray | None = None) -> Found:
    """Our search, with other noise if wished."""
    noise_BA = case.noise_BA if noise_BA is None else noise_BA
    scale = case.options.get("gumbel_scale", 1.0)  # noise that is given is taken as it is
    noise = {"root_gumbel": scale * noise_BA} if case.algorithm == "gumbel" else {}
    out: Outcome = run(case.algorithm, case.world, case.starts, sims=case.sims, **case.options, **noise)
    tree = out.tree
    order_B = [
        list(zip(tree.parents[place, 1:size].tolist(), tree.actions[place, 1:size].tolist(), strict=True))
        for place, size in enumerate(tree.size_B)
    ]
    return Found(
        out.visits_BA, out.value_B, out.policy_target_BA, [] if "max_depth" in case.options else order_B,
        out.best_action_B if case.algorithm == "gumbel" else np.zeros(case.trees),
    )  # fmt: skip


def mctx_options(case: Case) -> dict[str, Any]:
    """``case.options`` as mctx's policies take them."""
    import mctx

    direct = {key: value for key, value in case.options.items() if key in DIRECT}
    inner = {key: value for key, value in case.options.items() if key not in DIRECT}
    if case.algorithm == "gumbel":
        return {**direct, "qtransform": functools.partial(mctx.qtransform_completed_by_mix_value, **inner)}
    if inner.get("q_transform") == "by_min_max":
        transform = functools.partial(mctx.qtransform_by_min_max, min_value=0.0, max_value=1.0)
    else:
        transform = mctx.qtransform_by_parent_and_siblings
    return {**direct, "qtransform": transform, "dirichlet_fraction": 0.0}


def theirs(case: Case) -> Found:
    """mctx's search in float64: in float32 the two programs round differently."""
    import jax

    def drawn(key: Any, **how: Any) -> Any:
        return jax.numpy.asarray(case.noise_BA)

    with mock.patch.object(jax.random, "gumbel", drawn):
        before = jax.config.jax_enable_x64
        jax.config.update("jax_enable_x64", True)
        try:
            return _theirs(case)
        finally:
            jax.config.update("jax_enable_x64", before)


def _theirs(case: Case) -> Found:
    import jax
    import mctx

    jnp, world = jax.numpy, case.world
    policy = {"puct": mctx.muzero_policy, "gumbel": mctx.gumbel_muzero_policy}[case.algorithm]

    def step(tables: Any, key: Any, action: Any, state: Any) -> Any:
        after_SA, logits_SA, reward_SA, value_S, terminal_S = tables
        after = jnp.where(terminal_S[state], state, after_SA[state, action])
        reward = jnp.where(terminal_S[state], 0.0, reward_SA[state, action])
        weight = jnp.where(terminal_S[after], 0.0, world.discount)
        return mctx.RecurrentFnOutput(
            reward=reward, discount=weight, prior_logits=logits_SA[after], value=value_S[after]
        ), after

    @jax.jit
    def search(tables: Any, starts: Any) -> Any:
        root = mctx.RootFnOutput(prior_logits=tables[1][starts], value=tables[3][starts], embedding=starts)
        return policy(
            tables, jax.random.PRNGKey(0), root, step, num_simulations=case.sims,
            invalid_actions=jnp.isneginf(root.prior_logits), **mctx_options(case),
        )  # fmt: skip

    tables = (world.next_SA, world.logits_SA, world.reward_SA, world.value_S, world.terminal_S)
    out = search(jax.tree.map(jnp.asarray, tables), jnp.asarray(case.starts))
    tree, summary = out.search_tree, out.search_tree.summary()
    over = world.terminal_S[np.asarray(tree.embeddings)]
    lists = zip(np.asarray(tree.parents), np.asarray(tree.action_from_parent), over, strict=True)
    return Found(
        np.asarray(summary.visit_counts), np.asarray(summary.value), np.asarray(out.action_weights),
        [] if "max_depth" in case.options else [_expansions(*row) for row in lists],
        np.asarray(out.action) if case.algorithm == "gumbel" else np.zeros(case.trees),
    )  # fmt: skip


def _expansions(parents: np.ndarray, actions: np.ndarray, over: np.ndarray) -> list[tuple[int, int]]:
    """(parent, action) in the order of expansion, without mctx's copies of nodes below a terminal one."""
    number = {0: 0}
    order = []
    for node in range(1, len(parents)):
        above = int(parents[node])
        if above in number and not over[above]:
            number[node] = len(number)
            order.append((number[above], int(actions[node])))
    return order


def tables_hash(case: Case) -> str:
    """Of the world, the starts and the noise: a record is of these."""
    world = case.world
    arrays = (world.next_SA, world.logits_SA, world.reward_SA, world.value_S, world.terminal_S, case.noise_BA)
    return hashlib.sha256(b"".join(array.tobytes() for array in arrays) + repr(case.starts).encode()).hexdigest()[:16]


def blocks(found: Found) -> list[tuple[str, float, float]]:
    """For each block of trees: a hash of all whole numbers, weighted sums of root values and of policy targets."""
    rows = []
    for start in range(0, len(found.value_B), BLOCK):
        part = slice(start, start + BLOCK)
        whole = [found.visits_BA[part].astype(int).tolist(), found.order_B[part], found.choice_B[part].tolist()]
        whole[2] = [int(choice) for choice in whole[2]]
        digest = hashlib.sha256(json.dumps(whole).encode()).hexdigest()[:16]
        value_B, policy_Z = found.value_B[part], found.policy_BA[part].ravel()
        # Weights without pattern: errors of several numbers do not cancel.
        sums = [float(x @ np.cos(1.7 * np.arange(1, len(x) + 1))) for x in (value_B, policy_Z)]
        rows.append((digest, sums[0], sums[1]))
    return rows


def main() -> None:
    """Records the cases named on the command line, or all but the slow ones."""
    names = sys.argv[1:]
    cases = {case.name: case for case in CASES if not case.slow}
    if unknown := [name for name in names if name not in cases]:
        raise SystemExit(f"no case has the name {unknown[0]!r}; there are:\n" + "\n".join(cases))
    record = json.loads(RECORD.read_text()) if names and RECORD.exists() else {"cases": {}}
    record["versions"] = {name: version(name) for name in ("mctx", "jax", "numpy")}
    record["cases"] = {name: row for name, row in record["cases"].items() if name in cases}
    for name in names or cases:
        record["cases"][name] = {"tables": tables_hash(cases[name]), "blocks": blocks(theirs(cases[name]))}
        print(name, flush=True)
    lines = ",\n".join(f"{json.dumps(name)}: {json.dumps(row)}" for name, row in record["cases"].items())
    RECORD.write_text(f'{{"versions": {json.dumps(record["versions"])}, "cases": {{\n{lines}\n}}}}\n')


if __name__ == "__main__":
    main()
