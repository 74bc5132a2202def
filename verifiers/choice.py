"""Multiple choice: the letter that a text settles on against the gold letter."""

from __future__ import annotations

import time
from collections.abc import Sequence
from typing import ClassVar

from colasearch.problem import LabelledProblem
from colasearch.verifiers.base import Verdict
from colasearch.verifiers.extract import extract_choice


class Choice:
    """Gold verifier of letters A to J, in either case, with or without brackets."""

    checkable: ClassVar[bool] = False

    def score(self, labelled: LabelledProblem, answer_text: str) -> Verdict:
        """1 if the text settles on the gold letter, else 0; ``None`` if the gold answer is no letter."""
        start = time.perf_counter()
        gold = extract_choice(labelled.gold)
        if gold is None:
            return Verdict(None, "the gold answer is no letter from A to J", time.perf_counter() - start)
        letter = extract_choice(answer_text)
        reason = "no answer" if letter is None else "equal" if letter == gold else "different"
        return Verdict(float(letter == gold), reason, time.perf_counter() - start)

    def score_batch(self, items: Sequence[tuple[LabelledProblem, str]]) -> list[Verdict]:
        """Score many texts; one verdict an item, in order."""
        return [self.score(labelled, text) for labelled, text in items]
