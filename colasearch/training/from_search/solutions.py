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
from colasearch.training.from_search.targets import Judge


def solutions(
    traces: Iterable[Trace], problems: dict[str, LabelledProblem], judge: Judge, most: int
) -> list[dict[str, Any]]:
    """Rows with ``id``, ``problem``, ``answer``, ``solution`` and the problem's data (Countdown's numbers and target).

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
                    "problem": trace.text,
                    **({"answer": labelled.gold} if labelled.gold else {}),
                    **labelled.problem.data,
                    "solution": text.text,
                }
            )
    return rows


def _right(trace: Trace, judge: Judge) -> list[TraceText]:
    found: dict[str, TraceText] = {}
    for text in trace.texts:
        if text.answer is None or text.text in found or states_false(trace.task, text.text):
            continue
        if judge(trace, text.answer) >= 1:
            found[text.text] = text
    return sorted(found.values(), key=lambda text: -text.share)
