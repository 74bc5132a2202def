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
from colasearch.rows import Row, read_rows, text_of
from colasearch.tasks import answer_verifier, get_task, is_checkable, labelled_of, problem_of, task_of, text_verifier
from colasearch.verifiers import get_verifier


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
    columns = get_task(task).columns if task else {}
    rows = [row for path in paths for row in read_rows(path, columns)]
    task = task or task_of(rows)
    found: dict[str, LabelledProblem] = {}
    for row in rows:
        labelled = _labelled(row, task) if gold else _unlabelled(row, task)
        found.setdefault(labelled.problem.id, labelled)
    if not found:
        raise InputError(f"no problem in {', '.join(map(str, paths))}; give rows with 'problem' and 'answer'")
    return list(found.values())


def _labelled(row: Row, task: str) -> LabelledProblem:
    labelled = labelled_of(row, task)
    return replace(labelled, gold="") if is_checkable(task) else labelled


def _unlabelled(row: Row, task: str) -> LabelledProblem:
    """A row with all its columns, and its gold answer where it has one."""
    try:
        labelled = _labelled(row, task)
    except InputError:
        labelled = LabelledProblem(_asked(row, task), "")
    known = ("problem", "answer", "text", get_task(task).columns.get("answer"))
    data = {key: value for key, value in row.fields.items() if key not in known} | dict(labelled.problem.data)
    return replace(labelled, problem=replace(labelled.problem, data=data))


def _asked(row: Row, task: str) -> Problem:
    """The problem of a row that may lack what the task's verifier needs, but not what the question is made of."""
    try:
        return problem_of(row, task)
    except InputError:
        if get_task(task).wording is not None:
            raise
        return Problem.from_text(text_of(row), task)


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
        style: Form asked for; see ``verifiers.format``. None: the task's own.

    Raises:
        InputError: The weight is not in [0, 1], or task or style is unknown.
    """

    def __init__(self, task: str, format_weight: float = 0.0, style: str | None = None) -> None:
        from colasearch.verifiers.composite import Composite

        if not 0 <= format_weight <= 1:
            raise InputError(f"the weight of the format reward is {format_weight}; it must be between 0 and 1")
        found = get_task(task)
        options = {"format_reward": 0.0} if found.verifier == "countdown" else {}
        parts = [
            (text_verifier(task, **options), 1 - format_weight),
            (get_verifier("format", style=style or found.form), format_weight),
        ]
        self._answers = None if found.answer is None and isinstance(found.verifier, str) else answer_verifier(task)
        self._verifier = Composite([part for part in parts if part[1] > 0])

    def __call__(self, items: Sequence[tuple[LabelledProblem, str]]) -> list[float]:
        """Rewards of texts. A problem whose gold answer cannot be read gives 0 to every text, so teaches nothing."""
        return [0.0 if v.reward is None else v.reward for v in self._verifier.score_batch(list(items))]

    def of_answer(self, labelled: LabelledProblem, answer: str) -> float:
        """The reward of an answer that the task has found in a text; form does not count."""
        if self._answers is None:
            return self([(labelled, f"\\boxed{{{answer}}}")])[0]
        reward = self._answers.score(labelled.problem if self._answers.checkable else labelled, answer).reward
        return 0.0 if reward is None else float(reward)


def labelled_or_none(paths: Sequence[Path | str]) -> list[LabelledProblem]:
    """The problems of ``paths`` where every row has an answer, else none: texts, a table, or a stream."""
    if not all(Path(path).is_file() and Path(path).suffix in (".jsonl", ".json", ".csv") for path in paths):
        return []
    try:
        return load_problems([Path(path) for path in paths], None)
    except InputError:
        return []
