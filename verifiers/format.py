r"""Format: does a text keep to the form that was asked for, whatever its answer.

Checkable, and meant as a small part of a reward only: form is the easiest thing to learn instead of mathematics.
"""

from __future__ import annotations

import re
import time
from collections.abc import Sequence
from typing import ClassVar

from colasearch.errors import InputError
from colasearch.problem import Problem
from colasearch.verifiers.base import Verdict
from colasearch.verifiers.extract import boxed

STYLES = ("think", "think-answer", "boxed")


class Format:
    r"""Checks the form of a text.

    Args:
        style: ``think`` asks for one ``<think>...</think>`` at the beginning and something after it;
            ``think-answer`` for ``<think>...</think>`` followed by ``<answer>...</answer>`` and nothing else;
            ``boxed`` for exactly one ``\boxed{}`` with something in it.

    Raises:
        InputError: if the style is not known.
    """

    checkable: ClassVar[bool] = True

    def __init__(self, style: str = "boxed") -> None:
        if style not in STYLES:
            raise InputError(f"format style {style!r} is not known; the styles are {', '.join(STYLES)}")
        self.style = style

    def score(self, problem: Problem, answer_text: str) -> Verdict:
        """1 if the text has the form, else 0; the problem is not looked at."""
        start = time.perf_counter()
        fault = self._fault(answer_text)
        return Verdict(float(fault is None), fault or "well-formed", time.perf_counter() - start)

    def score_batch(self, items: Sequence[tuple[Problem, str]]) -> list[Verdict]:
        """Score many texts; one verdict an item, in order."""
        return [self.score(problem, text) for problem, text in items]

    def _fault(self, text: str) -> str | None:
        if self.style == "boxed":
            count = len([content for _, _, content in boxed(text) if content])
            return None if count == 1 else f"{count} boxed answers, one is asked for"
        counts = {tag: text.count(tag) for tag in ("<think>", "</think>", "<answer>", "</answer>")}
        wanted = ("<think>", "</think>") if self.style == "think" else tuple(counts)
        for tag in wanted:
            if counts[tag] != 1:
                return f"{tag} stands {counts[tag]} times, it should stand once"
        body = text.strip()
        if not body.startswith("<think>"):
            return "the text does not begin with <think>"
        after = body.partition("</think>")[2].strip()
        if self.style == "think":
            return None if after else "nothing follows </think>"
        if not after.startswith("<answer>") or not after.endswith("</answer>"):
            return "<answer>...</answer> does not follow </think> directly, to the end"
        return None if re.search(r"\S", after[8:-9]) else "the answer is empty"
