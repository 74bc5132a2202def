"""Gold verifier of mathematical answers."""

from __future__ import annotations

import time
from collections.abc import Sequence
from typing import ClassVar

from colasearch.problem import LabelledProblem
from colasearch.verifiers.base import Verdict
from colasearch.verifiers.compare import compare
from colasearch.verifiers.extract import extract_answer


class Math:
    """Compares the answer of a text with the gold answer."""

    checkable: ClassVar[bool] = False

    def score(self, labelled: LabelledProblem, answer_text: str) -> Verdict:
        """1 if the text's answer equals the gold answer, else 0."""
        start = time.perf_counter()
        answer = extract_answer(answer_text)
        if answer is None:
            return Verdict(0.0, "no answer", time.perf_counter() - start)
        equal = compare(labelled.gold, answer) is True
        return Verdict(float(equal), "equal" if equal else "different", time.perf_counter() - start)

    def score_batch(self, items: Sequence[tuple[LabelledProblem, str]]) -> list[Verdict]:
        """Score many answers; one verdict an item, in order."""
        return [self.score(labelled, text) for labelled, text in items]
