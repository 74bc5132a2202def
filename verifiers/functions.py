"""Named functions of the evaluator: trigonometric, logarithms, whole-number functions, determinants."""

from __future__ import annotations

import math
from fractions import Fraction
from typing import TYPE_CHECKING, Any

from colasearch.verifiers.lexer import MAX_BITS, TooCostly, Undefined
from colasearch.verifiers.nodes import Node

if TYPE_CHECKING:
    from colasearch.verifiers.evaluate import Evaluator

Value = Any

_TRIGONOMETRIC = {"sin": "sin", "cos": "cos", "tan": "tan", "cot": "cot", "sec": "sec", "csc": "csc"}
_INVERSE = {
    "arcsin": "asin", "arccos": "acos", "arctan": "atan", "arccot": "acot", "arcsec": "asec", "arccsc": "acsc",
    "sinh": "sinh", "cosh": "cosh", "tanh": "tanh", "coth": "coth", "sech": "sech", "csch": "csch",
    "arsinh": "asinh", "arcosh": "acosh", "artanh": "atanh",
}  # fmt: skip
_DUST = 1e-50
_MAX_MATRIX = 6


def apply(evaluator: Evaluator, name: str, args: tuple[Node, ...]) -> Value:
    """The value of a function at its arguments.

    Raises:
        TooCostly: if computing it would cost too much.
        Undefined: if the function is not known or not defined there.
    """
    if name == "det":
        return _determinant(evaluator, args)
    if name in _TRIGONOMETRIC and len(args) == 1:
        angle = args[0]
        x = evaluator.value(angle)
        if _in_degrees(angle):
            x = evaluator.inexact(x) * evaluator.mp.pi / 180
        return _clean(evaluator, getattr(evaluator.mp, name)(_small(evaluator, x)), x)
    values = [evaluator.value(a) for a in args]
    if name in _INVERSE and len(args) == 1:
        x = _small(evaluator, values[0])
        return _clean(evaluator, getattr(evaluator.mp, _INVERSE[name])(x), x)
    if name in ("ln", "log", "exp"):
        return _logarithm(evaluator, name, values)
    if name == "abs" and len(args) == 1:
        return abs(values[0])
    if all(isinstance(v, Fraction) for v in values):
        whole = all(v.denominator == 1 and v >= 0 for v in values)
        if whole or name not in ("factorial", "binom"):
            return _exact(name, values)
    if name in ("factorial", "binom") and all(abs(v) < 1000 for v in values):
        # Variables have broken sample values: there these functions mean their continuations.
        numbers = [evaluator.inexact(v) for v in values]
        return evaluator.mp.factorial(*numbers) if name == "factorial" else evaluator.mp.binomial(*numbers)
    if name in ("min", "max") and not any(isinstance(v, evaluator.mp.mpc) for v in values):
        return (min if name == "min" else max)(values)
    if name in ("floor", "ceil") and not isinstance(values[0], evaluator.mp.mpc) and abs(values[0]) < 1e30:
        return Fraction(int(getattr(evaluator.mp, name)(values[0])))
    raise Undefined(f"{name} is not defined there")


def _in_degrees(node: Node) -> bool:
    return node[0] == "deg" or (node[0] in ("neg", "add", "mul", "div") and any(_in_degrees(n) for n in node[1:]))


def _small(evaluator: Evaluator, x: Value) -> Value:
    x = evaluator.inexact(x)
    if abs(x) > 1e9:
        raise Undefined("the argument is too large for 60 digits")
    return x


def _clean(evaluator: Evaluator, result: Value, argument: Value) -> Value:
    """Zero where the result is the rounding error of an argument that is not itself tiny (the sine of pi)."""
    tiny = abs(result) < _DUST and abs(argument) > 1e-30
    if abs(result) > 1e45:
        raise Undefined("a pole of the function")
    return Fraction(0) if tiny else result


def _logarithm(evaluator: Evaluator, name: str, values: list[Value]) -> Value:
    x = values[0]
    if name == "exp" and len(values) == 1:
        x = evaluator.inexact(x)
        if abs(x) > 1e6:
            raise TooCostly("the power is too large to compute")
        return evaluator.mp.exp(x)
    if x == 0 or len(values) > 2:
        raise Undefined("the logarithm of zero")
    log = evaluator.mp.log(evaluator.inexact(x))
    evaluator.branched |= isinstance(log, evaluator.mp.mpc)
    if name == "log":
        # Without a base, log is the decimal one, as math-verify reads it.
        base = values[1] if len(values) == 2 else Fraction(10)
        if base in (0, 1):
            raise Undefined("a logarithm to that base")
        log = log / evaluator.mp.log(evaluator.inexact(base))
        nearest = Fraction(int(evaluator.mp.nint(log.real)))
        if isinstance(x, Fraction) and isinstance(base, Fraction) and abs(log - int(nearest)) < 1e-40:
            return nearest
    return Fraction(0) if abs(log) < _DUST else log


def _exact(name: str, values: list[Fraction]) -> Value:
    if name == "factorial" and len(values) == 1:
        n = values[0]
        if n > 1 and (n > MAX_BITS or float(n) * math.log2(float(n)) > MAX_BITS):
            raise TooCostly("the factorial is too large to compute")
        return Fraction(math.factorial(int(n)))
    if name == "binom" and len(values) == 2:
        n, k = values
        if n > 1 and min(k, max(n - k, Fraction(0))) * n.numerator.bit_length() > MAX_BITS:
            raise TooCostly("the binomial is too large to compute")
        return Fraction(math.comb(int(n), int(k)))
    if name in ("floor", "ceil") and len(values) == 1:
        return Fraction(math.floor(values[0]) if name == "floor" else math.ceil(values[0]))
    if name in ("min", "max") and len(values) > 1:  # of one value it is the extremum of a function
        return min(values) if name == "min" else max(values)
    if name == "mod" and len(values) == 2 and values[1] != 0:
        return values[0] % values[1]
    if name in ("gcd", "lcm") and all(v.denominator == 1 for v in values):
        whole = [v.numerator for v in values]
        return Fraction(math.gcd(*whole) if name == "gcd" else math.lcm(*whole))
    raise Undefined(f"{name} is not defined there")


def _determinant(evaluator: Evaluator, args: tuple[Node, ...]) -> Value:
    if len(args) != 1 or args[0][0] != "matrix":
        raise Undefined("a determinant of something that is no matrix")
    rows = [[evaluator.value(cell) for cell in row] for row in args[0][1]]
    if len(rows) != len(rows[0]):
        raise Undefined("a determinant that is not square")
    if len(rows) > _MAX_MATRIX:
        raise TooCostly("the determinant is too large to compute")

    if not all(isinstance(cell, Fraction) for row in rows for cell in row):
        rows = [[evaluator.inexact(cell) for cell in row] for row in rows]

    def expand(matrix: list[list[Value]]) -> Value:
        if len(matrix) == 1:
            return matrix[0][0]
        terms = [
            (-1) ** column * cell * expand([row[:column] + row[column + 1 :] for row in matrix[1:]])
            for column, cell in enumerate(matrix[0])
        ]
        return sum(terms[1:], terms[0])

    return expand(rows)
