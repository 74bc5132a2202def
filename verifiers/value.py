"""A value head as a verifier: what a model expects of a text, whole or step by step, behind the same interface.

Knows nothing of models: it takes any callable from texts to numbers, so searchers and re-rankers can use a value
head, a process reward model or a made-up judge alike.
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Sequence
from typing import ClassVar

from colasearch.errors import InputError
from colasearch.problem import Problem
from colasearch.verifiers.base import Verdict

ValueFunction = Callable[[Sequence[str], Sequence[str]], Sequence[float]]
"""(problem texts, text prefixes), both of length n, to n expected rewards in [0, 1]."""

AGGREGATES: dict[str, Callable[[Sequence[float]], float]] = {
    "last": lambda values: values[-1],
    "min": min,
    "mean": lambda values: sum(values) / len(values),
    "product": math.prod,
}
"""Ways to make one reward of the values of a text's prefixes."""


def steps(text: str, separator: str = "\n") -> list[str]:
    """Prefixes of a text that end where one of its steps ends; the last one is the whole text."""
    parts = text.split(separator)
    prefixes = [separator.join(parts[: i + 1]) for i in range(len(parts)) if parts[i].strip()]
    if not prefixes or prefixes[-1] != text:
        prefixes.append(text)
    return prefixes


class ValueVerifier:
    """Checkable verifier that asks a value function.

    Args:
        values: The value function; it gets all prefixes of a batch in one call.
        aggregate: ``last`` (the value of the whole text), ``min``, ``mean`` or ``product`` over the prefixes.
        separator: What stands between the steps of a text.

    Raises:
        InputError: if the aggregate is not known.
    """

    checkable: ClassVar[bool] = True

    def __init__(self, values: ValueFunction, aggregate: str = "last", separator: str = "\n") -> None:
        if aggregate not in AGGREGATES:
            raise InputError(f"aggregate {aggregate!r} is not known; the aggregates are {', '.join(AGGREGATES)}")
        self.values = values
        self.aggregate = aggregate
        self.separator = separator

    def score(self, problem: Problem, answer_text: str) -> Verdict:
        """The expected reward of a text."""
        return self.score_batch([(problem, answer_text)])[0]

    def score_batch(self, items: Sequence[tuple[Problem, str]]) -> list[Verdict]:
        """Score many texts with one call of the value function; one verdict an item, in order."""
        if not items:
            return []
        start = time.perf_counter()
        rewards = self.process_rewards(items)
        seconds = (time.perf_counter() - start) / len(items)
        return [self._verdict(values, seconds) for values in rewards]

    def process_rewards(self, items: Sequence[tuple[Problem, str]]) -> list[list[float]]:
        """The value after each step of each text (only after the last one if the aggregate is ``last``).

        Raises:
            ValueError: if the value function returns another number of values than it was given texts.
        """
        prefixes = [[t] if self.aggregate == "last" else steps(t, self.separator) for _, t in items]
        questions = [p.text for (p, _), own in zip(items, prefixes, strict=True) for _ in own]
        flat = [prefix for own in prefixes for prefix in own]
        values = [float(v) for v in self.values(questions, flat)]
        if len(values) != len(flat):
            raise ValueError(f"the value function returned {len(values)} values for {len(flat)} texts; one each is due")
        rewards, at = [], 0
        for own in prefixes:
            rewards.append(values[at : at + len(own)])
            at += len(own)
        return rewards

    def _verdict(self, values: Sequence[float], seconds: float) -> Verdict:
        if not all(math.isfinite(v) for v in values):
            return Verdict(None, "the value function gave NaN or infinity", seconds)
        reward = min(1.0, max(0.0, AGGREGATES[self.aggregate](values)))
        return Verdict(reward, f"value ({self.aggregate} of {len(values)})", seconds)
