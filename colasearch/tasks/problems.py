"""Problems of rows, under a task."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from colasearch.errors import InputError
from colasearch.problem import LabelledProblem, Problem
from colasearch.rows import Row, gold_of, is_countdown, text_of
from colasearch.tasks.registry import get_task
from colasearch.tasks.verifying import is_checkable
from colasearch.verifiers import extract_answer


def problem_of(row: Row, ref: str, defaults: Mapping[str, Any] | None = None) -> Problem:
    """The problem of a row; its id is made of its wording.

    Args:
        row: With our names.
        ref: Of the task.
        defaults: What rows carry unless they say otherwise.

    Raises:
        InputError: It has no wording, or lacks a column that the task needs.
    """
    task = get_task(ref)
    data = task.data_of(row, defaults)
    words = row.fields.get("problem") or (None if "problem" in row.columns else row.fields.get("text"))
    text = task.wording(data) if task.wording is not None and not words else None
    if text is None:
        text = str(words) if task.wording is not None else text_of(row)
    return Problem.from_text(text, ref, data)


def labelled_of(row: Row, ref: str, defaults: Mapping[str, Any] | None = None) -> LabelledProblem:
    """The problem of a row with its gold answer, which is empty where a checkable task's row has none.

    Raises:
        InputError: As :func:`problem_of`; or there is no gold answer, and the task's verifier needs one.
    """
    problem, task = problem_of(row, ref, defaults), get_task(ref)
    if is_checkable(ref):
        gold = row.fields.get("answer")
        return LabelledProblem(problem, "" if gold is None else str(gold))
    return LabelledProblem(problem, gold_of(row, extract_answer if task.answer is None else task.extract))


def task_of(rows: Sequence[Row]) -> str:
    """The task of rows that do not say it.

    Raises:
        InputError: Some have numbers and a target, others have not.
    """
    countdown = [row for row in rows if is_countdown(row)]
    if countdown and len(countdown) < len(rows):
        other = next(row for row in rows if not is_countdown(row))
        raise InputError(
            f'{countdown[0].where} is a Countdown problem and {other.where} is none (no "numbers" and "target"); give '
            "rows of one kind, or --task"
        )
    return "countdown" if countdown else "math"
