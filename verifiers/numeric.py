"""Numbers within a tolerance, with units and percent: for measurements, where ``math`` would ask for exact values."""

from __future__ import annotations

import time
from collections.abc import Sequence
from fractions import Fraction
from typing import ClassVar

from colasearch.errors import InputError
from colasearch.problem import LabelledProblem
from colasearch.verifiers.answer import parse
from colasearch.verifiers.base import Verdict
from colasearch.verifiers.evaluate import Evaluator
from colasearch.verifiers.extract import extract_answer
from colasearch.verifiers.lexer import Unreadable
from colasearch.verifiers.math import gold_answer
from colasearch.verifiers.nodes import Node, symbols
from colasearch.verifiers.units import conflicting_units, without_letter_units


class Numeric:
    """Gold verifier of numbers.

    Args:
        relative: Allowed error as a share of the gold number.
        absolute: Allowed error as such; the larger of the two counts.
        percent: ``either`` takes 5% for 5 and for 0.05; ``hundredth`` for 0.05 only; ``unit`` for 5 only.
        need_unit: Ask for a unit when the gold answer has one.

    Raises:
        InputError: if a tolerance is negative or ``percent`` is not one of the three.
    """

    checkable: ClassVar[bool] = False

    def __init__(
        self, relative: float = 1e-2, absolute: float = 0.0, percent: str = "either", need_unit: bool = False
    ) -> None:
        if relative < 0 or absolute < 0:
            raise InputError(f"tolerances are {relative} and {absolute}; they may not be negative")
        if percent not in ("either", "hundredth", "unit"):
            raise InputError(f"percent is {percent!r}; it may be either, hundredth or unit")
        self.relative, self.absolute = Fraction(str(relative)), Fraction(str(absolute))
        self.percent = percent
        self.need_unit = need_unit

    def score(self, labelled: LabelledProblem, answer_text: str) -> Verdict:
        """1 if the text's number is within the tolerance of the gold one; ``None`` if that is no number."""
        start = time.perf_counter()
        reward, reason = self._judge(labelled.gold, answer_text)
        return Verdict(reward, reason, time.perf_counter() - start)

    def score_batch(self, items: Sequence[tuple[LabelledProblem, str]]) -> list[Verdict]:
        """Score many texts; one verdict an item, in order."""
        return [self.score(labelled, text) for labelled, text in items]

    def _judge(self, gold: str, answer_text: str) -> tuple[float | None, str]:
        wanted = self._read(gold_answer(gold))
        if wanted is None:
            return None, "the gold answer is no number"
        answer = extract_answer(answer_text)
        if answer is None:
            return 0.0, "no answer"
        given = self._read(answer)
        if given is None:
            return 0.0, "the answer is no number"
        if wanted[1] and given[1] and conflicting_units(wanted[1], given[1]):
            return 0.0, "another unit"
        if self.need_unit and wanted[1] and not given[1]:
            return 0.0, "no unit"
        for g in wanted[0]:
            for p in given[0]:
                if abs(g - p) <= max(self.absolute, self.relative * abs(g)):
                    return 1.0, "within tolerance"
        return 0.0, "outside the tolerance"

    def _read(self, answer: str | None) -> tuple[list[Fraction], str] | None:
        """The values that an answer may stand for, and its unit."""
        node = parse(answer).node if answer else None
        if node is None:
            return None
        if node[0] == "rel" and node[1][-1] in ("=", "~"):
            node = node[2][-1]
        unit = ""
        if node[0] == "unit":
            node, unit = node[1], node[2]
        else:
            node, unit = without_letter_units(node)
        percent = node[0] == "pct" or (node[0] == "neg" and node[1][0] == "pct")
        value = _real(_without_percent(node))
        if value is None:
            return None
        if not percent:
            return [value], unit
        return {"either": [value, value / 100], "hundredth": [value / 100], "unit": [value]}[self.percent], unit


def _without_percent(node: Node) -> Node:
    if node[0] == "pct":
        inner: Node = node[1]
        return inner
    return ("neg", node[1][1]) if node[0] == "neg" and node[1][0] == "pct" else node


def _real(node: Node) -> Fraction | None:
    if symbols(node):
        return None
    evaluator = Evaluator()
    try:
        value = evaluator.value(node)
    except Unreadable:
        return None
    if isinstance(value, Fraction):
        return value
    if isinstance(value, evaluator.mp.mpc) or evaluator.mp.isinf(value):
        return None
    return Fraction(str(evaluator.mp.nstr(value, 40)))
