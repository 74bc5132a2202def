"""The verifier interface: what every verifier takes and gives.

A *checkable* verifier needs no reference answer (Countdown); a *gold* verifier compares with one. Searchers may use
checkable verifiers only; gold verifiers are for scorers and trainers. The two are told apart by type: only a gold
verifier is handed a ``LabelledProblem``.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar, Protocol

from colasearch.problem import LabelledProblem, Problem


@dataclass(frozen=True, slots=True)
class Verdict:
    """Outcome of checking one answer.

    Attributes:
        reward: In [0, 1]; ``None`` when nothing can be said because the gold answer itself cannot be read.
        reason: Why, in a few words, for people and for records (``equal``, ``different``, ``no answer``, ``timeout``).
        seconds: Wall-clock seconds spent on this answer, without the time it waited for a free worker.
    """

    reward: float | None
    reason: str
    seconds: float = 0.0

    @property
    def correct(self) -> bool | None:
        """True when the full reward was given, False when it was not, ``None`` when nothing can be said."""
        return None if self.reward is None else self.reward >= 1.0


class CheckableVerifier(Protocol):
    """Scores an answer from the problem alone."""

    checkable: ClassVar[bool]

    def score(self, problem: Problem, answer_text: str) -> Verdict:
        """Score ``answer_text``; never raises on bad text."""
        ...

    def score_batch(self, items: Sequence[tuple[Problem, str]]) -> list[Verdict]:
        """Score many answers; one verdict an item, in order."""
        ...


class GoldVerifier(Protocol):
    """Scores an answer against the gold answer."""

    checkable: ClassVar[bool]

    def score(self, labelled: LabelledProblem, answer_text: str) -> Verdict:
        """Score ``answer_text``; never raises on bad text."""
        ...

    def score_batch(self, items: Sequence[tuple[LabelledProblem, str]]) -> list[Verdict]:
        """Score many answers; one verdict an item, in order."""
        ...
