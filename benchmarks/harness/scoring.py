"""Scoring of finished arms against gold answers: the one place of a run that sees them.

*Selected* is the text that the arm chose. *Oracle* asks whether any of its finished texts was right; it says what a
perfect choice could reach, and is never mixed with the selected accuracy.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from colasearch.benchmarks.data_sets.base import Item
from colasearch.benchmarks.harness.arms import ArmResult
from colasearch.tasks import is_checkable, text_verifier

MAX_CANDIDATES = 16
"""Groups of answers that a record keeps."""


@dataclass(frozen=True, slots=True)
class Score:
    """How right an arm was on one problem.

    Attributes:
        correct: The selected text is right; None when the gold answer itself cannot be read.
        texts_correct: Finished texts that are right.
        reason: Of the selected text's verdict.
    """

    correct: bool | None
    texts_correct: int
    reason: str


class Scorer:
    """Scores results; verifiers are made once a task."""

    def __init__(self) -> None:
        self._verifiers: dict[str, Any] = {}

    def score(self, item: Item, result: ArmResult) -> Score:
        """Score what an arm made of ``item``. Equal answers are checked once."""
        task = item.problem.task
        # One text stands for all with the same written answer; the selected text is asked for as it is.
        first: dict[str, int] = {}
        texts = [result.text]
        for text, answer in result.texts:
            if answer is not None and answer not in first:
                first[answer] = len(texts)
                texts.append(text)
        verdicts = self._verdicts(item, task, texts)
        right = sum(answer is not None and bool(verdicts[first[answer]].correct) for _, answer in result.texts)
        chosen = verdicts[0]
        correct = chosen.correct
        if correct is not None and result.answer is None:
            correct = False
        return Score(correct, right, chosen.reason)

    def _verdicts(self, item: Item, task: str, texts: Sequence[str]) -> list[Any]:
        if task not in self._verifiers:
            self._verifiers[task] = text_verifier(task)
        asked: Any = item.problem if is_checkable(task) else item.labelled
        verdicts: list[Any] = self._verifiers[task].score_batch([(asked, text) for text in texts])
        return verdicts


def record_of(item: Item, arm: str, sims: int, result: ArmResult, score: Score | None) -> dict[str, Any]:
    """The record of ``problems.jsonl`` (format: ``colasearch.storage.runs``), without its trace."""
    record: dict[str, Any] = {
        "problem_id": item.problem.id,
        "problem": item.problem.text,
        "arm": arm,
        "sims": sims,
        "status": "ok",
        "error": None,
        "subject": item.subject,
        "level": item.level,
        "gold": item.labelled.gold,
        "wall_seconds": round(result.wall_seconds, 6),
    }
    error = None if result.error is None else (type(result.error).__name__, str(result.error))
    if score is not None and score.correct is None:
        error = ("UnreadableGold", f"problem {item.problem.id} cannot be scored: {score.reason}")
    if error is not None or score is None:
        kind, message = error or ("NotScored", "there is no result")
        return {**record, "status": "error", "error": {"kind": kind, "message": message}}
    return {
        **record,
        "answer": result.answer,
        "text": result.text,
        "correct": bool(score.correct),
        # What was selected is one of the texts, whichever way a verifier looks at it.
        "oracle": bool(score.correct) or score.texts_correct > 0,
        "texts": len(result.texts),
        "texts_correct": score.texts_correct,
        "candidates": [
            {"answer": c.answer, "weight": round(c.weight, 6), "count": c.count}
            for c in result.candidates[:MAX_CANDIDATES]
        ],
        "cut": result.cut,
        "stop": result.stop,
        "sims_done": result.sims,
        "effective_branching": None if result.effective_branching is None else round(result.effective_branching, 6),
        "token_budget": result.token_budget,
        "generated_tokens": result.generated_tokens,
        "model_calls": result.model_calls,
        "seconds": round(result.seconds, 6),
    }
