"""MCTS-Q against a plain restatement of its published rules, and of the mended ones."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest

from colasearch.errors import InputError
from colasearch.searchers import run
from colasearch.searchers.noise import generator

GAMMA, THRESHOLD, CHUNK, C_PUCT = 0.99, 0.01, 3, 0.7
ACTIONS, DEPTH = 6, 6


class QWorld:
    """A random tree of ``DEPTH`` steps: a state is its path as a number; the last step is paid; Q is a random table."""

    discount = 1.0

    def __init__(self, seed: int, smooth: float) -> None:
        """``smooth`` is the share of states whose Q-values agree with those after them."""
        self.seed, self.smooth = seed, smooth
        self.calls: list[tuple[int, int]] = []

    def _random(self, state: int, what: int, size: int | None = None) -> Any:
        return np.random.default_rng([self.seed, int(state), what]).random(size)

    def depth(self, state: int) -> int:
        return 0 if state == 0 else 1 + self.depth((state - 1) // ACTIONS)

    def prior(self, state: int) -> np.ndarray:
        weights = np.exp(3 * self._random(state, 0, ACTIONS))
        share: np.ndarray = weights / weights.sum()
        return share

    def reward(self, state: int) -> float:
        return round(float(self._random(state, 1)), 1) if self.depth(state) == DEPTH else 0.0

    def q(self, state: int) -> np.ndarray:
        even: np.ndarray = 0.5 + 0.04 * self._random(state, 2, ACTIONS)
        return even if self._random(state, 3) < self.smooth else self._random(state, 4, ACTIONS)

    def root(self, problems: Any) -> Any:
        count = len(problems)
        return np.zeros(count, np.int64), np.stack([np.log(self.prior(0))] * count), np.zeros(count)

    def expand(self, states: Any, actions: Any) -> Any:
        self.calls += [(int(s), int(a)) for s, a in zip(states, actions, strict=True)]
        after = np.asarray(states) * ACTIONS + 1 + np.asarray(actions)
        ends = np.array([self.depth(s) == DEPTH for s in after])
        logits = np.stack([np.log(self.prior(s)) for s in after])
        return after, np.array([self.reward(s) for s in after]), ends, logits, np.full(len(after), 0.3)

    def q_BA(self, states: Any) -> np.ndarray:
        return np.stack([self.q(s) for s in states])


class Restated:
    """The rules as they are written down, one step after the other, with a list for a tree."""

    def __init__(self, world: QWorld, seed: int, *, mended: bool = False, gate: bool = True) -> None:
        self.world, self.seed, self.mended, self.gate = world, seed, mended, gate
        self.calls: list[tuple[int, int]] = []
        self.texts: list[tuple[float, int]] = []
        self.extended = self.kept = 0

    def step(self, state: int, action: int) -> int:
        if (state, action) not in self.calls:
            self.calls.append((state, action))
        return state * ACTIONS + 1 + action

    def passes(self, state: int, action: int, after: int) -> bool:
        """(Q(s,a) - γ max Q(s',a'))² < threshold and s' is not the end."""
        if not self.gate or self.world.depth(after) == DEPTH:
            return False
        gamma = 1.0 if self.mended else GAMMA
        passed = bool((self.world.q(state)[action] - gamma * max(self.world.q(after))) ** 2 < THRESHOLD)
        self.extended, self.kept = self.extended + passed, self.kept + (not passed)
        return passed

    def run(self, steps: int) -> None:
        root: dict[str, Any] = {"s": 0, "up": None, "p": 0.5, "R": 0.0, "N": 0, "V": 0.0, "kids": []}
        open_nodes, started = [root], 0
        while open_nodes and len(self.calls) < steps:
            node = open_nodes.pop(int(np.argmax([self.urgency(n) for n in open_nodes])))
            prior = self.world.prior(node["s"])
            best = np.argsort(-prior)[: 5 if node is root else 4]
            lanes = []
            for rank, action in enumerate(best.tolist()):
                untried = 1 - sum(prior[a] for a in best[:rank])
                after = self.step(node["s"], action)
                p = prior[action] if self.mended else prior[action] / untried
                lanes.append({"edge": after, "tip": after, "p": [p], "on": self.passes(node["s"], action, after)})
                lanes[-1]["rng"] = generator(self.seed, "#0", f"rollout {started}")
                started += 1
            for _ in range(DEPTH):
                for lane in lanes:
                    if self.world.depth(lane["tip"]) < DEPTH:
                        self.walk(lane)
            for lane in lanes:
                self.add(node, lane, open_nodes)

    def walk(self, lane: dict[str, Any]) -> None:
        state, prior = lane["tip"], self.world.prior(lane["tip"])
        action = int(np.searchsorted(np.cumsum(prior), lane["rng"].random() * prior.sum(), side="right"))
        lane["tip"] = self.step(state, action)
        if lane["on"]:
            lane["edge"] = lane["tip"]
            lane["p"].append(prior[action])
            lane["on"] = len(lane["p"]) <= CHUNK and (not self.mended or self.passes(state, action, lane["tip"]))

    def add(self, node: dict[str, Any], lane: dict[str, Any], open_nodes: list[dict[str, Any]]) -> None:
        reward = self.world.reward(lane["tip"])
        self.texts.append((reward, lane["tip"]))
        new = {"s": lane["edge"], "up": node, "p": np.mean(lane["p"]), "R": reward, "N": 1, "V": reward, "kids": []}
        node["kids"].append(new)
        while node is not None:
            node["N"] += 1
            above = sum(k["N"] * ((k["R"] - node["R"]) + GAMMA * k["V"]) for k in node["kids"])
            node["V"] = above / sum(k["N"] for k in node["kids"])  # as published; no choice comes to see it
            node = node["up"]
        if self.world.depth(new["s"]) < DEPTH:
            open_nodes.append(new)

    def urgency(self, node: dict[str, Any]) -> float:
        parent = 1 if node["up"] is None else node["up"]["N"]
        return float(node["V"] + C_PUCT * node["p"] * math.sqrt(parent) / (node["N"] + 1))


@pytest.mark.parametrize("name", ["cola_reference", "cola_mended"])
@pytest.mark.parametrize("seed", range(6))
def test_the_search_is_what_its_rules_say(name: str, seed: int) -> None:
    world = QWorld(seed, smooth=0.7)
    steps = 150
    out = run(name, world, [0], sims=steps, seed=seed, chunk=CHUNK)
    plain = Restated(world, seed, mended=name == "cola_mended")
    plain.run(steps)
    assert world.calls == plain.calls[:steps]
    assert plain.extended > 3
    assert plain.kept > 3
    known = set(world.calls)
    whole = [(reward, s) for reward, s in plain.texts if ((s - 1) // ACTIONS, (s - 1) % ACTIONS) in known]
    best = max(reward for reward, _ in whole)
    answer = int(out.tree.states[0, out.best_node_B[0]])
    assert world.reward(answer) == pytest.approx(best)


@pytest.mark.parametrize("name", ["cola_reference", "cola_mended"])
def test_without_q_values_every_edge_is_one_step(name: str) -> None:
    class NoQ(QWorld):
        q_BA = None  # type: ignore[assignment]

    class Unknown(QWorld):
        def q_BA(self, states: Any) -> Any:
            return None

    for world in (NoQ(3, 0.7), Unknown(3, 0.7)):
        run(name, world, [0], sims=100, seed=1, chunk=CHUNK)
        plain = Restated(world, 1, mended=name == "cola_mended", gate=False)
        plain.run(100)
        assert world.calls == plain.calls[:100]
    shut = QWorld(3, 0.7)
    run(name, shut, [0], sims=100, seed=1, td_threshold=0, chunk=CHUNK)
    assert shut.calls == world.calls


def test_the_published_gate_discounts_what_comes_after() -> None:
    """With Q(s, a) = γ max Q(s', a') an edge goes on; by the differences of the Q-values alone it would not."""

    class Discounted(QWorld):
        def q(self, state: int) -> np.ndarray:
            return np.full(ACTIONS, 0.5 ** (DEPTH - self.depth(state)))

    for gamma, goes_on in ((0.5, True), (1.0, False)):
        world = Discounted(1, 0.0)
        out = run("cola_reference", world, [0], sims=60, chunk=2, gamma=gamma)
        ends = {int(state) for state, _ in world.calls if sum(s == state for s, _ in world.calls) > 2}
        assert (not any(world.depth(state) == DEPTH - 2 for state in ends)) == goes_on
        assert out.sims_B[0] > 0


def test_the_mended_gate_counts_the_reward_of_the_step() -> None:
    """A step that is paid what Q said of it leaves nothing to decide; by the published rule it does."""

    class Paid(QWorld):
        def reward(self, state: int) -> float:
            return 0.5 if self.depth(state) == 1 else 0.0

        def q(self, state: int) -> np.ndarray:
            return np.full(ACTIONS, 0.5 if state == 0 else 0.0)

    spreads = []
    for name in ("cola_reference", "cola_mended"):
        world = Paid(1, 0.0)
        run(name, world, [0], sims=60, root_children=1, chunk=2)
        spreads.append({world.depth(state) for state, _ in world.calls if sum(s == state for s, _ in world.calls) > 2})
    assert 1 in spreads[0]  # the edge of one step ends there, and the search branches
    assert 1 not in spreads[1]


def test_q_values_of_a_wrong_shape_are_refused() -> None:
    class Wrong(QWorld):
        def q_BA(self, states: Any) -> np.ndarray:
            return np.zeros((len(states), 2))

    with pytest.raises(InputError, match=r"world\.q_BA gave shape \(1, 2\)"):
        run("cola_reference", Wrong(0, 0.5), [0], sims=20)


def test_q_values_that_are_nan_extend_nothing() -> None:
    class Sick(QWorld):
        def q_BA(self, states: Any) -> np.ndarray:
            return np.full((len(states), ACTIONS), np.nan)

    sick, shut = Sick(2, 0.5), QWorld(2, 0.5)
    run("cola_reference", sick, [0], sims=60)
    run("cola_reference", shut, [0], sims=60, td_threshold=0)
    assert sick.calls == shut.calls
