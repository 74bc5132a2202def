"""Verifiers in the shapes that others call: a plain scoring function, and a reward function of TRL."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

from colasearch.errors import InputError
from colasearch.problem import LabelledProblem, Problem


def scorer(verifier: Any, problem: Problem | LabelledProblem) -> Callable[[Sequence[str]], list[float]]:
    """A plain ``score(texts) -> rewards`` for the answers to one problem; ``nan`` where nothing can be said.

    Raises:
        InputError: if the verifier needs a gold answer and the problem has none.
    """
    item = _fitting(verifier, problem)

    def score(texts: Sequence[str]) -> list[float]:
        verdicts = verifier.score_batch([(item, text) for text in texts])
        return [float("nan") if v.reward is None else v.reward for v in verdicts]

    return score


def _fitting(verifier: Any, problem: Problem | LabelledProblem) -> Problem | LabelledProblem:
    if verifier.checkable:
        return problem.problem if isinstance(problem, LabelledProblem) else problem
    if isinstance(problem, LabelledProblem):
        return problem
    raise InputError(
        f"{type(verifier).__name__} needs a gold answer and problem {problem.id!r} has none; give a LabelledProblem"
    )


def completion_text(completion: str | Sequence[Mapping[str, Any]]) -> str:
    """The text of a completion: a string, or the last message's content in a list of messages."""
    if isinstance(completion, str):
        return completion
    content = completion[-1]["content"] if completion else ""
    return content if isinstance(content, str) else "".join(str(part.get("text", "")) for part in content or ())


def trl_reward(
    verifier: Any, task: str = "math", gold_column: str = "solution", name: str | None = None
) -> Callable[..., list[float | None]]:
    """A reward function for TRL's trainers: ``f(prompts, completions, **columns) -> list[float | None]``.

    Args:
        verifier: Any verifier. A gold one reads the column ``gold_column`` (``answer`` if that is missing).
        task: Task of the problems that are made from the prompts. The other columns become their ``data``.
        gold_column: Column with the gold answers.
        name: Name under which TRL logs the reward; by default the verifier's.

    The function returns ``None`` for a sample whose gold answer cannot be read; TRL skips it.
    """

    def reward(
        prompts: Sequence[Any], completions: Sequence[Any], completion_ids: Any = None, **columns: Any
    ) -> list[float | None]:
        rows = {key: value for key, value in columns.items() if _is_column(value, len(completions))}
        golds = rows.pop(gold_column, None)
        if golds is None and not verifier.checkable:
            golds = rows.pop("answer", None)
            if golds is None:
                raise InputError(
                    f"the data set has the columns {sorted(rows)}, not {gold_column!r}, which holds the gold answers; "
                    "pass gold_column="
                )
        items: list[tuple[Any, str]] = []
        for i, completion in enumerate(completions):
            data = {key: value[i] for key, value in rows.items()}
            problem = Problem.from_text(completion_text(prompts[i]), task, data)
            item = problem if golds is None else LabelledProblem(problem, str(golds[i]))
            items.append((_fitting(verifier, item), completion_text(completion)))
        return [verdict.reward for verdict in verifier.score_batch(items)]

    reward.__name__ = name or f"{type(verifier).__name__.lower()}_reward"
    return reward


def _is_column(value: Any, length: int) -> bool:
    return isinstance(value, Sequence) and not isinstance(value, str) and len(value) == length
