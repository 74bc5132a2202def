"""Serial PUCT and Gumbel in plain Python, written from the papers: slow, one tree, no arrays, no sharing of code."""

from __future__ import annotations

import math
from typing import Any


class Node:
    def __init__(self, state: int, reward: float, terminal: bool, logits: list[float], value: float) -> None:
        top = max(logits)
        weights = [math.exp(logit - top) for logit in logits]
        self.prior = [weight / sum(weights) for weight in weights]
        self.logits = [logit - top for logit in logits]
        self.state, self.reward, self.terminal = state, reward, terminal
        self.raw = 0.0 if terminal else value
        self.total, self.visits = self.raw, 1
        self.children: dict[int, Node] = {}
        self.count: dict[int, int] = {}

    @property
    def mean(self) -> float:
        return self.total / self.visits

    def n(self, action: int) -> int:
        return self.count.get(action, 0)

    def legal(self) -> list[int]:
        return [action for action, logit in enumerate(self.logits) if logit > -math.inf]


def q_of(node: Node, action: int, discount: float) -> float:
    child = node.children[action]
    return child.reward + discount * child.mean


def puct(node: Node, discount: float) -> int:
    seen = {action: q_of(node, action, discount) for action in node.children}
    low, high = min([node.mean, *seen.values()]), max([node.mean, *seen.values()])
    weight = math.sqrt(node.visits) * (1.25 + math.log((node.visits + 19652 + 1) / 19652))

    def score(action: int) -> float:
        scaled = (seen[action] - low) / max(high - low, 1e-8) if action in seen else 0.0
        return scaled + weight * node.prior[action] / (1 + node.n(action))

    return max(node.legal(), key=score)


def sigma(node: Node, discount: float) -> list[float]:
    seen = {action: q_of(node, action, discount) for action in node.children}
    visits = sum(node.count.values())
    fill = node.raw
    if seen:
        mass = sum(node.prior[action] for action in seen)
        fill = (node.raw + visits * sum(node.prior[a] * q for a, q in seen.items()) / mass) / (1 + visits)
    q = [seen.get(action, fill) for action in range(len(node.prior))]
    low, high = min(q), max(q)
    scale = (50 + max([0, *node.count.values()])) * 0.1
    return [scale * (x - low) / max(high - low, 1e-8) for x in q]


def improved_policy(node: Node, discount: float) -> list[float]:
    scores = [logit + s for logit, s in zip(node.logits, sigma(node, discount), strict=True)]
    top = max(scores)
    weights = [math.exp(score - top) for score in scores]
    return [weight / sum(weights) for weight in weights]


def gumbel_interior(node: Node, discount: float) -> int:
    target, visits = improved_policy(node, discount), sum(node.count.values())
    return max(node.legal(), key=lambda action: target[action] - node.n(action) / (1 + visits))


def halving(m: int, sims: int) -> list[int]:
    if m <= 1:
        return list(range(sims))
    sequence: list[int] = []
    done, k = 0, m
    while len(sequence) < sims:
        for _ in range(max(1, int(sims / (math.ceil(math.log2(m)) * k)))):
            sequence += [done] * k
            done += 1
        k = max(2, k // 2)
    return sequence


class Naive:
    """One tree; ``search`` runs it and leaves ``root``, the visits and the order of expansion."""

    def __init__(self, world: Any, start: Any, algorithm: str, noise: list[float] | None = None, m: int = 16) -> None:
        states, logits, values = world.root([start])
        self.world, self.algorithm, self.discount, self.m = world, algorithm, world.discount, m
        self.noise = noise or [0.0] * len(logits[0])
        self.root = Node(states[0], 0.0, False, list(logits[0]), float(values[0]))
        self.expanded: list[tuple[int, ...]] = []

    def choose(self, node: Node, depth: int, wanted: int) -> int:
        if self.algorithm == "puct":
            return puct(node, self.discount)
        if depth:
            return gumbel_interior(node, self.discount)
        s = sigma(node, self.discount)
        rivals = [action for action in node.legal() if node.n(action) == wanted]
        return max(rivals, key=lambda action: self.noise[action] + node.logits[action] + s[action])

    def search(self, sims: int) -> list[int]:
        order = halving(min(self.m, len(self.root.legal())), sims)
        for simulation in range(sims):
            node, path, actions = self.root, [self.root], []
            while True:
                action = self.choose(node, len(actions), order[simulation])
                actions.append(action)
                fresh = action not in node.children
                if fresh:
                    self.expanded.append(tuple(actions))
                    after, reward, terminal, logits, value = self.world.expand([node.state], [action])
                    node.children[action] = Node(
                        after[0], float(reward[0]), bool(terminal[0]), list(logits[0]), float(value[0])
                    )
                node = node.children[action]
                path.append(node)
                if fresh or node.terminal:
                    break
            value = node.raw
            for place in range(len(actions) - 1, -1, -1):
                child, parent = path[place + 1], path[place]
                if not (child is node and fresh):
                    child.visits += 1
                    child.total += value
                value = child.reward + self.discount * value
                parent.count[actions[place]] = parent.n(actions[place]) + 1
            self.root.visits += 1
            self.root.total += value
        return [self.root.n(action) for action in range(len(self.root.prior))]
