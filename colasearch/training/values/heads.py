"""Value and Q heads by regression on backed-up returns (of search) or on final rewards (of rollouts).

The head's output is a probability-like number in (0, 1), so the loss is the binary cross-entropy with the target as a
soft label: it has the same minimiser as the squared error, the mean return of a state, without its flat tails. A node
that the search visited n times weighs n, as if each backup were a sample.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import accumulate

import torch
import torch.nn.functional as F
from torch import Tensor

from colasearch.errors import InputError
from colasearch.model.latent_lm import LatentModules, trainable
from colasearch.model.value import QHead, ValueHead
from colasearch.training.data.hidden_cache import HiddenStates
from colasearch.training.from_search.targets import NodeTarget
from colasearch.training.running.loop import Metrics


@dataclass(frozen=True, slots=True)
class ValueData:
    """N states with targets; ``[N]`` for the value head, ``[N, K]`` for the Q head.

    Attributes:
        states_ND: Hidden states.
        targets: In [0, 1].
        weights: Not negative; 0 where there is no target.
    """

    states_ND: Tensor
    targets: Tensor
    weights: Tensor

    def mean(self) -> float:
        """Weighted mean of the targets."""
        return float((self.targets * self.weights).sum() / self.weights.sum().clamp_min(1e-9))

    def check(self) -> None:
        """Check the targets.

        Raises:
            InputError: One is outside [0, 1], or none has weight.
        """
        known = self.targets[self.weights > 0]
        if not len(known):
            raise InputError("there is no target to learn from; search or roll out more problems")
        if not (known.min() >= -1e-6 and known.max() <= 1 + 1e-6):
            raise InputError(
                f"targets run from {float(known.min()):.3f} to {float(known.max()):.3f}; the heads give rewards in "
                "[0, 1]: use verifiers that do, and discount 1"
            )


@dataclass(frozen=True, slots=True)
class Texts:
    """Whose the N states of ``ValueData`` are: those of one text after the other.

    Attributes:
        problems: Each text's problem.
        counts: How many states each text has, at least one. By the last a search values a finished text.
        rewards: Each text's final reward.
    """

    problems: Sequence[str]
    counts: Sequence[int]
    rewards: Sequence[float]

    def better(self) -> list[tuple[list[int], list[int]]]:
        """For each problem whose texts differ in reward: its texts above their mean reward, and the others."""
        of: dict[str, list[int]] = {}
        for text, problem in enumerate(self.problems):
            of.setdefault(problem, []).append(text)
        found = []
        for texts in of.values():
            rewards = [self.rewards[t] for t in texts]
            if min(rewards) < max(rewards):  # a mean of equal numbers may be rounded to less than they are
                mean = sum(rewards) / len(rewards)
                above = [t for t in texts if self.rewards[t] > mean]
                found.append((above, [t for t in texts if self.rewards[t] <= mean]))
        return found

    def told_apart(self) -> list[int]:
        """The texts of problems whose texts differ in reward.

        Raises:
            InputError: There are none.
        """
        found = sorted(text for sides in self.better() for side in sides for text in side)
        if not found:
            raise InputError(
                "every problem's rollouts have the same reward, so there is nothing to tell apart; roll out more "
                "problems, or more --samples of each"
            )
        return found

    def last_states(self) -> list[int]:
        """Number of each text's last state."""
        return [end - 1 for end in accumulate(self.counts)]


def within_problems(data: ValueData, texts: Texts) -> tuple[ValueData, Texts]:
    """States and targets that only tell a problem's better texts (1) from its others (0).

    The two sides of a problem weigh alike, so knowing the problem is worth nothing: half of it is 1. Problems whose
    texts are all alike in reward are left out.

    Raises:
        InputError: No problem has texts of different rewards.
    """
    kept = texts.told_apart()
    target_of, weight_of = {}, {}
    for sides in texts.better():
        for target, side in zip((1.0, 0.0), sides, strict=True):
            for text in side:
                target_of[text], weight_of[text] = target, 1.0 / (len(side) * texts.counts[text])
    counts = torch.tensor(texts.counts)
    states = torch.isin(torch.arange(len(counts)).repeat_interleave(counts), torch.tensor(kept))
    device = data.states_ND.device
    targets, weights = (
        torch.tensor([of[t] for t in kept]).repeat_interleave(counts[kept]).to(device) for of in (target_of, weight_of)
    )
    some = Texts([texts.problems[t] for t in kept], [texts.counts[t] for t in kept], [texts.rewards[t] for t in kept])
    return ValueData(data.states_ND[states.to(device)], targets, weights), some


def ordered_pairs(value_of: Mapping[int, float], texts: Texts) -> tuple[float, int]:
    """Of all pairs of a problem's better and another text: the share that values put in order, and how many there are.

    Equal values are half in order. Only texts of ``value_of`` count.
    """
    right, pairs = 0.0, 0
    for better, others in texts.better():
        for one in (value_of[t] for t in better if t in value_of):
            for other in (value_of[t] for t in others if t in value_of):
                right += 0.5 if one == other else one > other
                pairs += 1
    return right / max(1, pairs), pairs


def node_states(states: HiddenStates, nodes: Sequence[NodeTarget]) -> Tensor:
    """Hidden states ``[N, D]`` of search nodes."""
    return torch.stack([states.of(n.document)[n.position] for n in nodes])


def value_data(states: HiddenStates, nodes: Sequence[NodeTarget]) -> ValueData:
    """Backed-up values of search nodes."""
    device = states.device
    values = torch.tensor([n.value for n in nodes], device=device)
    return ValueData(node_states(states, nodes), values, torch.tensor([float(n.visits) for n in nodes], device=device))


def q_data(states: HiddenStates, nodes: Sequence[NodeTarget], num_codes: int) -> ValueData:
    """Backed-up returns of the codes that the search took; codes that lead to the same child share its return."""
    targets, weights = torch.zeros(len(nodes), num_codes), torch.zeros(len(nodes), num_codes)
    for row, node in enumerate(nodes):
        for child in node.children:
            targets[row, list(child.codes)] = child.q
            weights[row, list(child.codes)] = child.visits / len(child.codes)
    return ValueData(node_states(states, nodes), targets.to(states.device), weights.to(states.device))


def add_head(modules: LatentModules, head: str, seed: int, value_hidden: int = 128, start: float = 0.5) -> None:
    """Give ``modules`` a fresh ``value`` or ``q`` head where it has none; its config says so.

    The fresh head says ``start`` of everything. For double DQN that matters: codes that were never tried keep what they
    are given, and the maximum over codes would take up any that chance made high.
    """
    if getattr(modules, head) is not None:
        return
    config = modules.config
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        if head == "value":
            modules.value = ValueHead(config.hidden_size, value_hidden)
            modules.config = replace(config, value_hidden=value_hidden)
        else:
            modules.q = QHead(config.hidden_size, config.num_codes)
            modules.config = replace(config, q_head=True)
    out = getattr(modules, head).out
    start = min(max(start, 1e-3), 1 - 1e-3)
    with torch.no_grad():
        out.weight.zero_()
        out.bias.fill_(math.log(start / (1 - start)))
    modules.to(modules.codebook.weight.device)


class HeadLearner:
    """Regresses the value or the Q head of ``modules`` on ``data``; only that head trains.

    Args:
        modules: With the head.
        head: ``value`` or ``q``.
        data: States and targets.
        texts: Whose the states are, for a value head: ``evaluate`` then also says how well it orders a problem's texts.
    """

    def __init__(self, modules: LatentModules, head: str, data: ValueData, texts: Texts | None = None) -> None:
        data.check()
        self.modules, self.head, self.data, self.texts = modules, head, data, texts

    def parameters(self) -> list[torch.nn.Parameter]:
        """The head's."""
        return list(trainable(self.modules, self.head))

    def predict(self, indices: Sequence[int]) -> Tensor:
        """Predictions for some states, of the shape of their targets."""
        predicted: Tensor = getattr(self.modules, self.head)(self.data.states_ND[list(indices)])
        return predicted

    def accumulate(self, indices: Sequence[int], step: int, steps: int) -> Metrics:
        """Add the gradients of one batch of states."""
        rows = list(indices)
        targets, weights = self.data.targets[rows].clamp(0, 1), self.data.weights[rows]
        predicted = self.predict(rows)
        total = weights.sum().clamp_min(1e-9)
        loss = (weights * F.binary_cross_entropy(predicted, targets, reduction="none")).sum() / total
        loss.backward()  # type: ignore[no-untyped-call]
        error = (weights * (predicted.detach() - targets).square()).sum() / total
        return {"loss": float(loss.detach()), "mse": float(error)}

    @torch.no_grad()
    def evaluate(self, indices: Sequence[int], train: Sequence[int]) -> Metrics:
        """Held-out ``mse``, and ``mean_mse``: that of always saying the training states' mean. Weighted alike.

        With texts also ``order``, the share of a problem's pairs of a better and another text that their last states'
        values put in order, and ``pairs``, how many there are; neither where there is none.
        """
        rows = list(indices)
        targets, weights = self.data.targets[rows], self.data.weights[rows]
        total = weights.sum().clamp_min(1e-9)
        known = ValueData(self.data.states_ND, self.data.targets[list(train)], self.data.weights[list(train)])
        mean = known.mean()
        error = (weights * (self.predict(rows) - targets).square()).sum() / total
        constant = (weights * (mean - targets).square()).sum() / total
        result = {"mse": float(error), "mean_mse": float(constant), "states": float(len(rows))}
        if self.texts is not None:
            held = set(rows)
            last = {text: state for text, state in enumerate(self.texts.last_states()) if state in held}
            values = dict(zip(last, self.predict(list(last.values())).tolist(), strict=True)) if last else {}
            order, pairs = ordered_pairs(values, self.texts)
            result |= {"order": order, "pairs": float(pairs)} if pairs else {}
        return result


def plan_of(indices: Sequence[int], batch: int, seed: int, epoch: int) -> list[list[int]]:
    """One epoch's batches: all ``indices`` once, shuffled by seed and epoch."""
    generator = torch.Generator().manual_seed((seed * 1_000_003 + epoch) % (1 << 62))
    order = [indices[i] for i in torch.randperm(len(indices), generator=generator).tolist()]
    return [order[begin : begin + batch] for begin in range(0, len(order), batch)]
