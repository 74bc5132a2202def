"""What is solved and what comes out: problems, labelled problems, results.

A searcher is given a ``Problem``, which has no answer field; gold answers live in ``LabelledProblem``, which only
scorers and trainers receive. So nothing that selects an answer can see the gold one.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any


class StopReason(StrEnum):
    """Why a search ended."""

    BUDGET = "budget"
    """All simulations were spent."""
    SOLVED = "solved"
    """A checkable verifier accepted the answer."""
    EXHAUSTED = "exhausted"
    """Nothing is left to search: every branch is finished, or the algorithm has written all that it would."""
    MAX_SECONDS = "max_seconds"
    """The time limit was reached; what had been found by then is reported."""
    MAX_TOKENS = "max_tokens"
    """The token limit was reached."""
    INTERRUPTED = "interrupted"
    """The user pressed Ctrl-C; what had been found by then is reported."""
    EARLY = "early"
    """The root's choice could no longer change with the simulations left."""
    NAN = "nan"
    """The model gave a NaN or infinite logit, value or prior."""


@dataclass(frozen=True, slots=True)
class Problem:
    """A problem as a searcher sees it.

    Attributes:
        id: Names the problem in records; with the run seed it fixes all randomness of its search.
        text: The problem's wording.
        task: Name of the task (prompt template, answer extraction and verifier), e.g. ``math`` or ``countdown``.
        data: What a checkable verifier needs beside the text (Countdown: ``numbers`` and ``target``). No gold answer.
    """

    id: str
    text: str
    task: str = "math"
    data: Mapping[str, Any] = field(default_factory=dict)

    @classmethod
    def from_text(cls, text: str, task: str = "math", data: Mapping[str, Any] | None = None) -> Problem:
        """A problem whose id is the first 16 hex digits of its text's SHA-256, so equal texts share an id."""
        digest = hashlib.sha256(text.encode()).hexdigest()[:16]
        return cls(id=digest, text=text, task=task, data=dict(data or {}))


@dataclass(frozen=True, slots=True)
class LabelledProblem:
    """A problem with its gold answer; for scorers and trainers only."""

    problem: Problem
    gold: str


@dataclass(frozen=True, slots=True)
class Candidate:
    """One group of mathematically equal answers.

    Attributes:
        answer: The group's answer as its best text wrote it.
        weight: Sum of its texts' weights, as a share of all weight (0 to 1).
        count: Number of finished texts that gave it.
        text: The best of them; not part of ``SolveResult.to_json``.
    """

    answer: str
    weight: float
    count: int
    text: str = field(default="", compare=False, repr=False)


@dataclass(frozen=True, slots=True)
class SolveResult:
    """Outcome of one search; ``to_json`` gives the object that ``colasearch solve --json`` prints.

    Attributes:
        problem_id, task, model, searcher, seed: What was searched, and how.
        answer: The chosen answer; None where none was found.
        text: The text that gave it.
        candidates: Groups of equal answers, heaviest first. Weights are shares of a vote, no probabilities of
            being right.
        stop: Why the search ended.
        sims: Simulations done; for a sampling searcher, whole texts drawn.
        effective_branching: Mean share of codes that lead to different children; None where whole texts were drawn.
        generated_tokens, model_calls, seconds: Cost.
        verdict: What the verifier of a checkable task says of ``answer``; None without an answer, or without such a
            verifier.
        cut: Texts that reached the limit of their length.
        why: Why there is no answer, and what to change; None where there is one.
    """

    problem_id: str
    task: str
    model: str
    searcher: str
    seed: int
    answer: str | None
    text: str
    candidates: tuple[Candidate, ...]
    stop: StopReason
    sims: int
    effective_branching: float | None
    generated_tokens: int
    model_calls: int
    seconds: float
    verdict: bool | None = None
    cut: int = 0
    why: str | None = None

    def to_json(self) -> dict[str, Any]:
        """The JSON object of design.md, schema 1."""
        return {
            "schema": 1,
            "problem_id": self.problem_id,
            "task": self.task,
            "model": self.model,
            "searcher": self.searcher,
            "seed": self.seed,
            "answer": self.answer,
            "text": self.text,
            "candidates": [{"answer": c.answer, "weight": c.weight, "count": c.count} for c in self.candidates],
            "stop": str(self.stop),
            "sims": self.sims,
            "effective_branching": self.effective_branching,
            "generated_tokens": self.generated_tokens,
            "model_calls": self.model_calls,
            "seconds": self.seconds,
            "verdict": self.verdict,
            "cut": self.cut,
            "why": self.why,
        }
