"""Single values: fingerprints, equality, and keys for grouping.

Exact values are compared exactly. Inexact ones (60 digits) must agree in 35. Where an author wrote a decimal, the
other side may be what it was rounded from, if at least ``MIN_DECIMALS`` digits were written: 0.333333 is 1/3.
"""

from __future__ import annotations

from collections.abc import Hashable
from fractions import Fraction
from typing import Any

from colasearch.verifiers.evaluate import POINTS, WHOLE_POINTS, Evaluator, Value, sample_points
from colasearch.verifiers.nodes import Node

MIN_DECIMALS = 6
"""A decimal with fewer digits behind the point is taken for exact."""
_AGREE = Fraction(1, 10**35)


def fingerprint(node: Node, points: list[int] | None = None) -> tuple[Value, ...]:
    """Values of a tree: one if it has no variables, else one at each sample point (``points``, or its own).

    A value is ``None`` at a negative point if the tree has a root or logarithm there that is not real: formulas
    with those are written with positive variables in mind.

    Raises:
        TooCostly: if computing them would cost too much.
        Unreadable: if it has no single value.
    """
    values = []
    for point in points or sample_points(node):
        evaluator = Evaluator(point)
        value = evaluator.value(node)
        negative = point == POINTS - 1 or point >= POINTS + WHOLE_POINTS
        values.append(None if evaluator.branched and negative else value)
    return tuple(values)


def close(a: Value, b: Value) -> bool:
    """Whether two values are the same number."""
    if isinstance(a, Fraction) and isinstance(b, Fraction):
        return a == b
    evaluator = Evaluator()
    x, y = evaluator.inexact(a), evaluator.inexact(b)
    if evaluator.mp.isinf(x) or evaluator.mp.isinf(y):
        return bool(x == y)
    return bool(abs(x - y) <= evaluator.inexact(_AGREE) * max(abs(x), abs(y)))


def decimal_literal(node: Node) -> tuple[Fraction, int] | None:
    """Value and number of decimals if a tree is nothing but a written decimal, with sign and power of ten."""
    if node[0] == "num" and node[2] is not None:
        return node[1], node[2]
    if node[0] == "neg":
        inner = decimal_literal(node[1])
        return None if inner is None else (-inner[0], inner[1])
    if node[0] == "mul" and node[2][0] == "pow" and node[2][1] == ("num", Fraction(10), None):
        inner = decimal_literal(node[1])
        exponent = node[2][2]
        sign = 1
        if exponent[0] == "neg":
            sign, exponent = -1, exponent[1]
        if inner and exponent[0] == "num" and exponent[1].denominator == 1 and exponent[1] <= 300:
            shift = sign * int(exponent[1])
            return inner[0] * Fraction(10) ** shift, inner[1] - shift
    return None


def rounds_to(value: Value, written: Fraction, decimals: int) -> bool:
    """Whether a value is what a written decimal was rounded from; enough digits must have been written."""
    if decimals < MIN_DECIMALS:
        return False
    evaluator = Evaluator()
    if not isinstance(value, Fraction):
        if isinstance(value, evaluator.mp.mpc) or evaluator.mp.isinf(value):
            return False
        value = Fraction(str(evaluator.mp.nstr(value, 40, min_fixed=-5, max_fixed=60)))
    if value == 0 or abs(value) > 10**40:
        return False
    significant = len(str(abs(written.numerator * 10**decimals // written.denominator))) if written else 0
    if significant >= 15:  # a floating-point number as printed: the last digits are noise
        return bool(abs(value - written) <= abs(value) / 10**12)
    return bool(significant >= 4 and abs(value - written) <= Fraction(1, 2) / Fraction(10) ** decimals)


def truncated_literal(node: Node) -> tuple[Fraction, int] | None:
    """Value and number of decimals if a tree is a decimal with dots behind it, with sign and power of ten."""
    if node[0] == "trunc":
        return node[1], node[2]
    if node[0] in ("neg", "mul"):
        inner = truncated_literal(node[1])
        as_number: Node = ("num", *inner) if inner else node
        return decimal_literal((node[0], as_number, *node[2:])) if inner else None
    return None


def _continues(gold: Node, pred: Node) -> bool | None:
    """Whether a value begins with the digits of a truncated decimal; ``None`` if neither side is one."""
    for literal, other in ((truncated_literal(gold), pred), (truncated_literal(pred), gold)):
        if literal is not None:
            other_literal = truncated_literal(other)
            evaluator = Evaluator()
            value = other_literal[0] if other_literal else evaluator.value(other)
            difference = abs(evaluator.inexact(value) - evaluator.inexact(literal[0]))
            return bool(literal[1] >= 2 and difference <= evaluator.mp.mpf(10) ** -literal[1])
    return None


def equal_scalars(gold: Node, pred: Node) -> bool:
    """Whether two trees have the same value, with the tolerance for written decimals.

    Raises:
        TooCostly: if computing them would cost too much.
        Unreadable: if one has no single value.
    """
    continues = _continues(gold, pred)
    if continues is not None:
        return continues
    points = sample_points(gold, pred)
    a, b = fingerprint(gold, points), fingerprint(pred, points)
    if all(x is None or y is None or close(x, y) for x, y in zip(a, b, strict=True)):
        return True
    if len(points) > 1:
        return False
    written_a, written_b = decimal_literal(gold), decimal_literal(pred)
    if written_a and written_b:
        longer, shorter = sorted((written_a, written_b), key=lambda w: -w[1])
        return rounds_to(longer[0], *shorter) or (longer[1] >= 12 and rounds_to(shorter[0], *longer))
    if written_b:
        return rounds_to(a[0], *written_b)
    return bool(written_a and rounds_to(b[0], *written_a))


def proportional(gold: tuple[Value, ...], pred: tuple[Value, ...], positive: bool) -> bool:
    """Whether one fingerprint is a constant times the other (a positive constant if asked)."""
    evaluator = Evaluator()
    ratios: list[Any] = []
    for a, b in zip(gold, pred, strict=True):
        if a is None or b is None:
            continue
        if a == 0 or b == 0:
            if a != b:
                return False
            continue
        ratios.append(evaluator.inexact(a) / evaluator.inexact(b))
    if not ratios:
        return True
    if positive and (isinstance(ratios[0], evaluator.mp.mpc) or ratios[0] < 0):
        return False
    return all(close(r, ratios[0]) for r in ratios)


def scalar_key(node: Node) -> Hashable:
    """A key that trees of equal value share.

    Raises:
        TooCostly: if computing the value would cost too much.
        Unreadable: if there is no single value.
    """
    points = sample_points(node)
    if len(points) == 1:
        return ("number", _value_key(fingerprint(node, points)[0]))
    # The negative point is left out: of two equal trees one may have roots and the other not.
    points = [p for p in points if p != POINTS - 1]
    return ("formula", tuple(_value_key(v) for v in fingerprint(node, points)))


def proportion_key(node: Node, positive: bool) -> Hashable:
    """A key that trees share when one is a constant times the other (a positive constant if asked).

    Raises:
        TooCostly: if computing the values would cost too much.
        Unreadable: if there is no single value.
    """
    evaluator = Evaluator()
    points = [p for p in sample_points(node) if p != POINTS - 1]
    values = [evaluator.inexact(v) for v in fingerprint(node, points)]
    scale = next((v for v in values if v != 0), None)
    if scale is None:
        return "zero"
    if positive:
        scale = abs(scale)
    return tuple(_value_key(v / scale) for v in values)


def _value_key(value: Value) -> Hashable:
    evaluator = Evaluator()
    if isinstance(value, Fraction):
        return (value.numerator, value.denominator)
    if isinstance(value, evaluator.mp.mpc):
        return ("complex", _value_key(value.real), _value_key(value.imag))
    if not evaluator.mp.isinf(value) and abs(value) < 1e20:
        near = Fraction(str(evaluator.mp.nstr(value, 50, min_fixed=-60, max_fixed=60))).limit_denominator(10**6)
        if close(value, near):  # (sqrt 2)^2 is 2
            return (near.numerator, near.denominator)
    return str(evaluator.mp.nstr(value, 25))
