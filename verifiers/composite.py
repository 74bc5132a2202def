"""Composite: a weighted sum of verifiers, for rewards such as "right, and a little for the form"."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from colasearch.errors import InputError
from colasearch.problem import LabelledProblem, Problem
from colasearch.verifiers.base import Verdict


class Composite:
    """The weighted mean of several verifiers' rewards.

    It is checkable if all its parts are; else it takes labelled problems, and its checkable parts see the problem
    without the gold answer. If a part cannot say anything (reward ``None``), neither can the whole.

    Args:
        parts: (verifier, weight) pairs; the weights are divided by their sum.

    Raises:
        InputError: if there is no part, or a weight is negative, or all are zero.
    """

    def __init__(self, parts: Sequence[tuple[Any, float]]) -> None:
        total = sum(weight for _, weight in parts)
        if any(weight < 0 for _, weight in parts) or not total > 0:
            raise InputError(f"the weights are {[w for _, w in parts]}; they must be positive or zero, not all zero")
        self.parts = [(verifier, weight / total) for verifier, weight in parts]
        self.checkable = all(verifier.checkable for verifier, _ in self.parts)

    def score(self, problem: Problem | LabelledProblem, answer_text: str) -> Verdict:
        """The weighted mean reward; the reason names each part's."""
        return self.score_batch([(problem, answer_text)])[0]

    def score_batch(self, items: Sequence[tuple[Problem | LabelledProblem, str]]) -> list[Verdict]:
        """Score many texts; one verdict an item, in order. Each part sees the whole batch at once."""
        columns: list[list[Verdict]] = []
        for verifier, _ in self.parts:
            if verifier.checkable:
                seen: list[Any] = [(p.problem if isinstance(p, LabelledProblem) else p, t) for p, t in items]
            else:
                seen = list(items)
            columns.append(verifier.score_batch(seen))
        return [self._combine(verdicts) for verdicts in zip(*columns, strict=True)]

    def _combine(self, verdicts: tuple[Verdict, ...]) -> Verdict:
        seconds = sum(v.seconds for v in verdicts)
        names = [type(verifier).__name__.lower() for verifier, _ in self.parts]
        reason = "; ".join(f"{name}: {v.reason}" for name, v in zip(names, verdicts, strict=True))
        total = 0.0
        for verdict, (_, weight) in zip(verdicts, self.parts, strict=True):
            if verdict.reward is None:
                return Verdict(None, reason, seconds)
            total += weight * verdict.reward
        return Verdict(min(1.0, max(0.0, total)), reason, seconds)
