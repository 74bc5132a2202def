"""Worked solutions from search: the right texts that it found, as rows to fine-tune the base on.

Source: expert iteration (Anthony et al. 2017) and STaR (Zelikman et al. 2022), which train on what was found to be
right; here guided fine-tuning takes the place of plain fine-tuning.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from colasearch.engine.texts.choosing import states_false
from colasearch.problem import LabelledProblem
from colasearch.storage.traces import Trace, TraceText
from colasearch.tasks import TASKS, get_task
from colasearch.training.from_search.targets import Judge


def solutions(
    traces: Iterable[Trace], problems: dict[str, LabelledProblem], judge: Judge, most: int
) -> list[dict[str, Any]]:
    """Rows with ``id``, ``problem`` (or ``prompt``: chat messages), ``answer``, ``solution`` and the problem's data.

    Args:
        traces: Searches.
        problems: By their texts; a trace of another problem is left out.
        judge: True reward of an answer.
        most: Rows of one problem; the texts that the policy finds most probable come first.

    Returns:
        One row a text, each text once. A text that states something false is no solution, even with the right answer.
    """
    rows: list[dict[str, Any]] = []
    for trace in traces:
        if trace.text not in problems:
            continue
        labelled = problems[trace.text]
        for number, text in enumerate(_right(trace, judge)[:most]):
            rows.append(
                {
                    "id": f"{trace.problem_id}-{number}",
                    **_asked(trace.task, labelled),
                    **({"answer": labelled.gold} if labelled.gold else {}),
                    **labelled.problem.data,
                    "solution": text.text,
                }
            )
    return rows


def _asked(task: str, labelled: LabelledProblem) -> dict[str, Any]:
    """How a row says what was asked: by its wording, or as chat messages, where the task is none of ours."""
    if task in TASKS:
        return {"problem": labelled.problem.text}
    return {"prompt": get_task(task).messages(labelled.problem)}


def _right(trace: Trace, judge: Judge) -> list[TraceText]:
    found: dict[str, TraceText] = {}
    task = get_task(trace.task)
    for text in trace.texts:
        if text.answer is None or text.text in found or states_false(task, text.text):
            continue
        if judge(trace, text.answer) >= 1:
            found[text.text] = text
    return sorted(found.values(), key=lambda text: -text.share)
