"""How finished texts become an answer."""

from __future__ import annotations

import math
from collections.abc import Sequence

from colasearch.engine.texts.finished import Finished
from colasearch.problem import Candidate
from colasearch.tasks import answer_groups, is_checkable

RULES = ("weighted", "equal", "best")


def vote(
    finished: Sequence[Finished], task: str, rule: str = "weighted", chosen: str | None = None
) -> tuple[list[Candidate], str]:
    """Choose among groups of mathematically equal answers.

    Args:
        finished: Finished texts, in the order in which they count as found.
        task: Decides which answers are equal.
        rule: ``weighted``: each text has a weight of its own (``engine.texts.finished.Finished``), but where a
            checkable verifier has accepted one, rejected ones weigh nothing. ``equal``: each weighs 1
            (majority). ``best``: the group of the one text of greatest value wins; groups are then ordered by their
            best text.
        chosen: The text that an algorithm has chosen by itself: it wins, whatever the rule, if it has an answer.

    Returns:
        The candidates, the winner first, and the best or chosen text of the winner (the first finished text when there
        is no answer at all; empty when there is no text). Ties go to the larger group, then to the first found.
    """
    answered = [(f, f.answer) for f in finished if f.answer is not None]
    groups: dict[int, list[Finished]] = {}
    for (item, _), group in zip(answered, answer_groups([a for _, a in answered], task), strict=True):
        groups.setdefault(group, []).append(item)

    proven = rule == "weighted" and is_checkable(task) and any(f.value >= 1 for f, _ in answered)

    def weight(item: Finished) -> float:
        if proven:
            return float(item.value >= 1)
        return 1.0 if rule == "equal" else item.weight

    def order(item: Finished) -> tuple[bool, float, float]:
        first, second = (item.value, item.weight) if rule == "best" else (item.weight, item.value)
        return item.text == chosen, first, second

    def strength(items: list[Finished]) -> float:
        if any(f.text == chosen for f in items):
            return math.inf
        return max(f.value for f in items) if rule == "best" else sum(weight(f) for f in items)

    total = sum(weight(f) for f, _ in answered)
    ranked = sorted(groups.values(), key=lambda items: (-strength(items), -len(items)))
    candidates = []
    for items in ranked:
        best = max(items, key=order)
        share = sum(weight(f) for f in items) / total if total else len(items) / len(answered)
        candidates.append(Candidate(best.answer or "", share, len(items), best.text))
    if ranked:
        return candidates, max(ranked[0], key=order).text
    return [], finished[0].text if finished else ""
