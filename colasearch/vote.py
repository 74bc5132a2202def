"""The vote that turns finished texts into an answer."""

from __future__ import annotations

from collections.abc import Sequence

from colasearch.engine.world import Finished
from colasearch.problem import Candidate
from colasearch.verifiers import group_answers


def vote(finished: Sequence[Finished], task: str) -> tuple[list[Candidate], str]:
    """Weighted vote over mathematically equal answers.

    Each finished text weighs its value; groups are ordered by weight, then count, then first appearance.

    Returns:
        The candidates, heaviest first, and the best text of the first (the first finished text when there is no
        answer at all; empty when there is no text).
    """
    answered = [(f, f.answer) for f in finished if f.answer is not None]
    groups: dict[int, list[Finished]] = {}
    for (item, _), group in zip(answered, group_answers([a for _, a in answered], task), strict=True):
        groups.setdefault(group, []).append(item)
    total = sum(f.value for f, _ in answered)
    ranked = sorted(groups.values(), key=lambda g: (-sum(f.value for f in g), -len(g)))
    candidates = []
    for group_texts in ranked:
        best = max(group_texts, key=lambda f: f.value)
        weight = sum(f.value for f in group_texts) / total if total else len(group_texts) / len(answered)
        candidates.append(Candidate(best.answer or "", weight, len(group_texts)))
    if ranked:
        return candidates, max(ranked[0], key=lambda f: f.value).text
    return [], finished[0].text if finished else ""
