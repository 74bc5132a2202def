"""Canonical keys: two answers are equal for voting when their keys are equal, so equality is transitive."""

from __future__ import annotations

from collections.abc import Hashable, Sequence

from colasearch.verifiers.countdown import ExpressionError, evaluate_expression
from colasearch.verifiers.extract import plain_arithmetic
from colasearch.verifiers.plain import parse_plain
from colasearch.verifiers.tidy import tidy


def canonical_key(answer: str, task: str = "math") -> Hashable:
    r"""A key that mathematically equal answers share; never raises.

    A percent sign counts as a unit here (``10\%`` is 10), since one key cannot stand for both 10 and 0.1.
    """
    if task == "countdown":
        try:
            # Two ways to reach the same value are the same answer only if they are the same way.
            expression = plain_arithmetic(answer).split("=")[0]
            value, used = evaluate_expression(expression)
            return ("countdown", value, tuple(sorted(used)))
        except ExpressionError:
            return ("text", answer.strip())
    tidied = tidy(answer)
    plain = parse_plain(tidied)
    if plain is not None:
        return ("number", plain.value)
    return ("text", tidied.replace(" ", "").lower())


def group_answers(answers: Sequence[str], task: str = "math") -> list[int]:
    """Group ids of answers: equal ids for mathematically equal answers, numbered by first appearance.

    The partition does not depend on the order of ``answers``. Never raises on bad text.
    """
    ids: dict[Hashable, int] = {}
    return [ids.setdefault(canonical_key(answer, task), len(ids)) for answer in answers]
