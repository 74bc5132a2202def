"""Labelled problems to train on by reward, and the reward.

Training may see gold answers; the rollouts themselves get a ``Problem``, which has none.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from colasearch.errors import InputError
from colasearch.problem import LabelledProblem, Problem
from colasearch.rows import Row, countdown_of, countdown_text, gold_of, is_countdown, read_rows, text_of
from colasearch.tasks import get_task
from colasearch.verifiers import get_verifier, is_checkable


def load_problems(paths: Sequence[Path], task: str | None = "math", *, gold: bool = True) -> list[LabelledProblem]:
    """Labelled problems of files (``colasearch.rows`` says of what form).

    A row has a problem and an answer (or a solution that states it); for a checkable task such as Countdown ``numbers``
    and ``target``, and no answer is needed. Problems that stand there twice are taken once.

    Args:
        paths: Files, read in order.
        task: Of all rows; None: Countdown where all rows have numbers and a target, mathematics where none has.
        gold: Whether a row must have a gold answer; without, rows may, and their other columns are kept as data, for
            the reward that takes a verifier's place.

    Raises:
        InputError: A file is missing, a row lacks something, or there is none; or some rows are Countdown's and others
            are not.
    """
    rows = [row for path in paths for row in read_rows(path)]
    task = task or task_of(rows)
    get_task(task)
    found: dict[str, LabelledProblem] = {}
    for row in rows:
        labelled = _labelled(row, task) if gold else _unlabelled(row, task)
        found.setdefault(labelled.problem.id, labelled)
    if not found:
        raise InputError(f"no problem in {', '.join(map(str, paths))}; give rows with 'problem' and 'answer'")
    return list(found.values())


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


def _labelled(row: Row, task: str) -> LabelledProblem:
    if is_checkable(task):
        data = countdown_of(row)
        text = row.fields.get("problem") or row.fields.get("text") or countdown_text(data)
        return LabelledProblem(Problem.from_text(str(text), task, data), "")
    return LabelledProblem(Problem.from_text(text_of(row), task), gold_of(row, task))


def _unlabelled(row: Row, task: str) -> LabelledProblem:
    """A row with all its columns, and its gold answer where it has one."""
    try:
        labelled = _labelled(row, task)
    except InputError:
        labelled = LabelledProblem(Problem.from_text(text_of(row), task), "")
    known = ("problem", "answer", "text")
    data = {key: value for key, value in row.fields.items() if key not in known} | dict(labelled.problem.data)
    return replace(labelled, problem=replace(labelled.problem, data=data))


def split_problems(problems: Sequence[LabelledProblem], fraction: float) -> tuple[list[int], list[int]]:
    """Indices of the problems to train on and of those held out; which are held out depends on their ids alone."""
    train: list[int] = []
    held: list[int] = []
    for index, labelled in enumerate(problems):
        (held if is_heldout(labelled.problem.id, fraction) else train).append(index)
    return train, held


def is_heldout(problem_id: str, fraction: float) -> bool:
    """Whether a problem is held out; the same in every command, whatever else is in its data."""
    digest = hashlib.sha256(problem_id.encode()).digest()
    return int.from_bytes(digest[:8], "big") / 2**64 < fraction


class Reward:
    """Terminal reward in [0, 1] of a text: (1 - w) * right + w * well-formed.

    Args:
        task: Whose verifier says what is right. What Countdown's gives by itself for form is switched off: form is
            the easier thing to learn (docs/training.md has a trial).
        format_weight: w, the weight of the format reward (cola-spec section 5, Countdown).
        style: Form asked for; see ``verifiers.format``.

    Raises:
        InputError: The weight is not in [0, 1], or task or style is unknown.
    """

    def __init__(self, task: str, format_weight: float = 0.0, style: str = "boxed") -> None:
        from colasearch.verifiers.composite import Composite

        if not 0 <= format_weight <= 1:
            raise InputError(f"the weight of the format reward is {format_weight}; it must be between 0 and 1")
        options = {"format_reward": 0.0} if task == "countdown" else {}
        parts = [
            (get_verifier(task, **options), 1 - format_weight),
            (get_verifier("format", style=style), format_weight),
        ]
        self._verifier = Composite([part for part in parts if part[1] > 0])

    def __call__(self, items: Sequence[tuple[LabelledProblem, str]]) -> list[float]:
        """Rewards of texts. A problem whose gold answer cannot be read gives 0 to every text, so teaches nothing."""
        return [0.0 if v.reward is None else v.reward for v in self._verifier.score_batch(list(items))]


def labelled_or_none(paths: Sequence[Path | str]) -> list[LabelledProblem]:
    """The problems of ``paths`` where every row has an answer, else none: texts, a table, or a stream."""
    if not all(Path(path).is_file() and Path(path).suffix in (".jsonl", ".json", ".csv") for path in paths):
        return []
    try:
        return load_problems([Path(path) for path in paths], None)
    except InputError:
        return []
