"""Replay of mctx's stored golden trees: the file is the environment, so no JAX runs here."""

from __future__ import annotations

import importlib.util
import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from colasearch.searchers import run

TREES = ["gumbel_muzero_tree", "gumbel_muzero_reward_tree", "muzero_qtransform_tree", "muzero_tree"]


def load(name: str) -> dict[str, Any]:
    spec = importlib.util.find_spec("mctx")
    if spec is None or spec.origin is None:
        pytest.skip("the golden trees come with mctx, which is not installed: pip install '.[dev]'")
    path = Path(spec.origin).parent / "_src" / "tests" / "test_data" / f"{name}.json"
    if not path.exists():
        pytest.skip(f"this version of mctx has no {name}.json")
    return json.loads(path.read_text())


class GoldenWorld:
    """A world that can only go where the stored tree went."""

    def __init__(self, golden: dict[str, Any]) -> None:
        self.discount = golden["env_config"]["discount"]
        self.node: dict[int, dict[str, Any]] = {}
        todo = [golden["tree"]]
        while todo:
            node = todo.pop()
            if "evaluation_index" in node:
                self.node[node["evaluation_index"]] = node
                todo += node["child_stats"]

    def _priors(self, states: Any) -> list[list[float]]:
        return [[float(np.log(child["prior"])) for child in self.node[s]["child_stats"]] for s in states]

    def root(self, problems: Any) -> Any:
        return [0] * len(problems), self._priors([0] * len(problems)), [self.node[0]["raw_value_view"]] * len(problems)

    def expand(self, states: Any, actions: Any) -> Any:
        children = [self.node[int(s)]["child_stats"][int(a)] for s, a in zip(states, actions, strict=True)]
        assert all("evaluation_index" in child for child in children), "left the golden tree"
        after = [child["evaluation_index"] for child in children]
        rewards = [child["reward"] for child in children]
        values = [child["raw_value_view"] for child in children]
        return after, rewards, [False] * len(after), self._priors(after), values


def options(golden: dict[str, Any]) -> dict[str, Any]:
    config = dict(golden["algorithm_config"])
    transform = config.pop("qtransform")
    known = {**config, **config.pop("qtransform_kwargs")}
    known.pop("qtransform_kwargs", None)
    if golden["algorithm"] == "muzero":
        known["q_transform"] = transform.removeprefix("qtransform_")
    return known


@pytest.mark.parametrize("name", TREES)
def test_golden_tree_is_replayed_node_by_node(name: str) -> None:
    golden = load(name)
    algorithm = {"muzero": "puct", "gumbel_muzero": "gumbel"}[golden["algorithm"]]
    sims = golden["tree"]["visit"] - 1
    world = GoldenWorld(golden)
    out = run(algorithm, world, ["a"], sims=sims, **options(golden))
    tree = out.tree
    assert int(tree.size_B[0]) == sims + 1
    # States are the indices in which mctx expanded, slots those in which we did.
    assert tree.states[0].tolist() == list(range(sims + 1))
    for slot in range(sims + 1):
        assert tree.visits[0, slot] == world.node[slot]["visit"]
        assert tree.values[0, slot] == pytest.approx(world.node[slot]["value_view"], abs=1e-6)


def test_nonzero_root_visits_are_those_of_the_reference_page() -> None:
    def visits(name: str) -> list[int]:
        golden = load(name)
        algorithm = {"muzero": "puct", "gumbel_muzero": "gumbel"}[golden["algorithm"]]
        out = run(algorithm, GoldenWorld(golden), [0], sims=golden["tree"]["visit"] - 1, **options(golden))
        return [int(count) for count in out.visits_BA[0] if count]

    assert visits("gumbel_muzero_tree") == [21, 49, 3, 49, 3, 9, 3, 3, 9, 3, 3, 3, 9, 3, 9, 21]
    assert visits("gumbel_muzero_reward_tree") == [15, 6, 2, 2, 15, 2, 2, 6]
    assert visits("muzero_qtransform_tree") == [2, 48]
