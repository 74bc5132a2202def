"""Who says whether an answer is right: the verifier of a task, on whole texts or on answers already found."""

from __future__ import annotations

import contextlib
import inspect
import sys
import time
from collections.abc import Callable, Hashable, Sequence
from typing import Any

from colasearch.errors import InputError
from colasearch.problem import LabelledProblem, Problem
from colasearch.tasks.registry import get_task
from colasearch.tasks.styles import cut
from colasearch.tasks.task import Task
from colasearch.verifiers import CheckableVerifier, Verdict, extract_answer, get_verifier
from colasearch.verifiers.rewards.base import checked

Item = Problem | LabelledProblem
CHECKABLE, GOLD = 2, 3
"""Parameters of a verifier function that needs no gold answer, and of one that does."""
_made: dict[str, tuple[Task, Any]] = {}


class FunctionVerifier:
    """A user's function as a verifier of answers. What it prints goes to standard error.

    An exception, NaN or a number outside [0, 1] gives no reward, with the reason: one text's fault is its own alone.

    Raises:
        InputError: It does not take (problem, answer) or (problem, answer, gold).
    """

    def __init__(self, function: Callable[..., Any], name: str) -> None:
        parameters = [
            p for p in inspect.signature(function).parameters.values()
            if p.kind in (p.POSITIONAL_ONLY, p.POSITIONAL_OR_KEYWORD) and p.default is p.empty
        ]  # fmt: skip
        if len(parameters) not in (CHECKABLE, GOLD):
            raise InputError(
                f"the verifier of task {name!r} takes {len(parameters)} arguments; it must take (problem, answer), or "
                "(problem, answer, gold) where only the gold answer says what is right"
            )
        self.function, self.checkable = function, len(parameters) == CHECKABLE

    def score(self, item: Item, answer: str) -> Verdict:
        """What the function says of one answer."""
        start = time.perf_counter()
        problem = item.problem if isinstance(item, LabelledProblem) else item
        gold = () if self.checkable else (item.gold if isinstance(item, LabelledProblem) else "",)
        try:
            with contextlib.redirect_stdout(sys.stderr):
                found = checked(self.function(problem, answer, *gold))
        except Exception as error:  # the user's code
            return Verdict(None, f"{type(error).__name__}: {str(error)[:200]}", time.perf_counter() - start)
        seconds = time.perf_counter() - start
        if found.value is None:
            return Verdict(None, found.reason, seconds)
        if not 0 <= found.value <= 1:
            return Verdict(None, f"the verifier gave {found.value:g}, which is outside [0, 1]", seconds)
        reason = {1.0: "right", 0.0: "wrong"}.get(found.value, f"score {found.value:g}")
        return Verdict(found.value, reason, seconds)

    def score_batch(self, items: Sequence[tuple[Item, str]]) -> list[Verdict]:
        """One verdict an answer, in order."""
        return [self.score(item, answer) for item, answer in items]


class TextVerifier:
    """A verifier of answers that is given whole texts: the task finds the answer in them."""

    def __init__(self, task: Task, answers: Any) -> None:
        self.task, self.answers, self.checkable = task, answers, bool(answers.checkable)

    def score(self, item: Item, text: str) -> Verdict:
        """The verdict on the text's answer; 0 where it has none."""
        return self.score_batch([(item, text)])[0]

    def score_batch(self, items: Sequence[tuple[Item, str]]) -> list[Verdict]:
        """One verdict a text, in order."""
        found = [(item, self.task.extract(text)) for item, text in items]
        known = [(item, answer) for item, answer in found if answer is not None]
        verdicts = iter(self.answers.score_batch(known) if known else [])
        return [Verdict(0.0, "no answer") if answer is None else next(verdicts) for _, answer in found]


class _Bare:
    """One of our verifiers, which look for the answer in a text, on an answer alone."""

    def __init__(self, name: str, options: dict[str, Any]) -> None:
        self.name, self.inner = name, get_verifier(name, **options)
        self.checkable = bool(self.inner.checkable)

    def score(self, item: Item, answer: str) -> Verdict:
        return self.score_batch([(item, answer)])[0]

    def score_batch(self, items: Sequence[tuple[Item, str]]) -> list[Verdict]:
        verdicts: list[Verdict] = self.inner.score_batch([(item, self._boxed(answer)) for item, answer in items])
        return verdicts

    def _boxed(self, answer: str) -> str:
        """In a box, which no verifier looks beyond; as it is where the box would change it."""
        boxed = f"\\boxed{{{answer}}}"
        return boxed if extract_answer(boxed, self.name) == answer else answer


def _inner(task: Task) -> Any:
    """The verifier that a task names or brings, on answers."""
    given = task.verifier
    if isinstance(given, type):
        given = given()
    if hasattr(given, "checkable") and hasattr(given, "score_batch"):
        return given
    if callable(given):
        return FunctionVerifier(given, task.name)
    raise InputError(
        f"the verifier of task {task.name!r} is a {type(given).__name__}; make it a name, a function, or an object "
        "with checkable, score and score_batch"
    )


def text_verifier(ref: str, **options: Any) -> Any:
    """The verifier of a task, which is given whole texts.

    Args:
        ref: Of the task.
        options: Of the verifier, where it is one of ours.

    Raises:
        InputError: There is no such task, or its verifier cannot be used.
    """
    task = get_task(ref)
    if not isinstance(task.verifier, str):
        return TextVerifier(task, _inner(task))
    if task.answer is None and cut("\nProblem:\nUser:", task.style) == "\nProblem:\nUser:":
        return get_verifier(task.verifier, **options)  # it finds answers as the task does
    return TextVerifier(task, _Bare(task.verifier, options))


def answer_verifier(ref: str, **options: Any) -> Any:
    """The verifier of a task, which is given answers that the task has found in texts; see :func:`text_verifier`."""
    task = get_task(ref)
    if not isinstance(task.verifier, str):
        return _inner(task)
    return get_verifier(task.verifier, **options) if task.answer is None else _Bare(task.verifier, options)


def is_checkable(ref: str) -> bool:
    """Whether the task's verifier needs no gold answer, so that a search may use it.

    Raises:
        InputError: There is no such task.
    """
    return bool(_answers(ref, get_task(ref)).checkable)


def checkable_verifier(ref: str) -> CheckableVerifier:
    """The task's verifier of answers, for use in a search.

    Raises:
        InputError: There is no such task, or its verifier needs the gold answer.
    """
    found = _answers(ref, get_task(ref))
    if not found.checkable:
        raise InputError(f"the verifier of task {ref!r} needs the gold answer; a search may use checkable ones only")
    verifier: CheckableVerifier = found
    return verifier


def _answers(ref: str, task: Task) -> Any:
    """A verifier made once a task; made anew where the name has come to stand for another task."""
    kept = _made.get(ref)
    if kept is None or kept[0] is not task:
        kept = _made[ref] = (task, answer_verifier(ref))
    return kept[1]


def answer_of(text: str, ref: str) -> str | None:
    """The answer of a text as its author wrote it; None where there is none."""
    return get_task(ref).extract(text)


def answer_key(answer: str, ref: str) -> Hashable:
    """A key that equal answers of a task share."""
    return get_task(ref).key_of(answer)


def answer_groups(answers: Sequence[str], ref: str) -> list[int]:
    """Group ids of answers: equal ids for equal answers, numbered by first appearance."""
    ids: dict[Hashable, int] = {}
    key_of = get_task(ref).key_of
    return [ids.setdefault(key_of(answer), len(ids)) for answer in answers]
