"""The verifier interface.

A *checkable* verifier needs no reference answer (Countdown); a *gold* verifier compares with one. Searchers may use
checkable verifiers only; gold verifiers are for scorers and trainers.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

from colasearch.problem import LabelledProblem, Problem


@dataclass(frozen=True, slots=True)
class Verdict:
    """Outcome of checking one answer.

    Attributes:
        reward: In [0, 1]; ``None`` when nothing can be said because the gold answer itself cannot be read.
        reason: Why, in a few words, for people and for records (``equal``, ``different``, ``no answer``, ``timeout``).
    """

    reward: float | None
    reason: str


class CheckableVerifier(Protocol):
    """Scores an answer from the problem alone."""

    def score(self, problem: Problem, answer_text: str) -> Verdict:
        """Score ``answer_text``; never raises on bad text."""
        ...


class GoldVerifier(Protocol):
    """Scores an answer against the gold answer."""

    def score(self, labelled: LabelledProblem, answer_text: str) -> Verdict:
        """Score ``answer_text``; never raises on bad text."""
        ...
