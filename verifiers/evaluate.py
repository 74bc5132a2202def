"""The value of a syntax tree: exact fractions where possible, 60 digits elsewhere, at a bounded cost.

Variables get fixed pseudo-random values, so two expressions are equal when their values agree at every sample point
(Schwartz and Zippel's test; ``POINTS`` of them are taken). Work is priced before it is done: a power or factorial
whose exact result would have more than ``MAX_BITS`` bits raises ``TooCostly`` instead of being computed.
"""

from __future__ import annotations

import math
import threading
import zlib
from fractions import Fraction
from typing import Any

from colasearch.verifiers import functions
from colasearch.verifiers.lexer import MAX_BITS, TooCostly, Undefined, Unreadable
from colasearch.verifiers.nodes import Node, symbols

MAX_WORK = 1 << 20
"""Bits that one evaluation may handle in all; a millisecond or so."""
DIGITS = 60
"""Decimal digits of inexact values."""
POINTS = 3
"""Sample points for variables; at the last one they are negative."""
WHOLE_POINTS = 48
"""Sample points with whole numbers, for trees with floors, ceilings or remainders."""
BROKEN_POINTS = 16
"""Sample points between whole numbers and on both sides of zero, for floors and ceilings of what is not whole."""
_WHOLE_NAMES = frozenset("ijklmnpqN")
"""Variables that stand for whole numbers by custom."""
CONSECUTIVE = 36
"""So many of them follow each other, so that every remainder and the neighbours of squares occur."""
MAX_TERMS = 1000
"""Longest series that is added up."""
_MAX_EXPONENT = 1_000_000
_TOO_SMALL = 1e-50

Value = Any
"""A ``Fraction``, or an inexact ``mpf`` or ``mpc`` of mpmath."""


_local = threading.local()


def _context() -> Any:
    """This thread's mpmath context: its precision is state, so threads must not share one."""
    context = getattr(_local, "context", None)
    if context is None:
        from mpmath.ctx_mp import MPContext  # 0.1 s to import, and only needed beyond plain numbers

        context = _local.context = MPContext()
        context.dps = DIGITS
    return context


def sample(name: str, point: int) -> Fraction:
    """Value of a variable at a sample point: between 0.4 and 2.4, negative at the last of ``POINTS``.

    Points behind those are whole numbers up to 1,000, where floors and remainders show what they are, and at last
    numbers from -5 to 5 for variables that need not be whole.
    """
    spread = zlib.crc32(f"{point}/{name}".encode()) % 20011
    if point >= POINTS + WHOLE_POINTS:
        return Fraction(spread % 29 + 1) if name in _WHOLE_NAMES else Fraction(spread, 2003) - 5
    if point >= POINTS + CONSECUTIVE:
        return Fraction(spread % 997 + 3)
    if point >= POINTS:
        return Fraction(point - POINTS + 1 + zlib.crc32(name.encode()) % 7)
    value = Fraction(4001 + spread, 10007)
    return -value if point == POINTS - 1 else value


def stepped(node: Node) -> bool:
    """Whether a tree has floors, ceilings or remainders, which hardly change from one small value to the next."""
    if node[0] == "set" or (node[0] == "fn" and node[1] in ("floor", "ceil", "mod", "gcd", "lcm")):
        return True
    return any(isinstance(c, tuple) and c and isinstance(c[0], str) and stepped(c) for c in node[1:])


def _of_whole(node: Node) -> bool:
    """Whether a tree has remainders or divisors, which are of whole numbers."""
    if node[0] == "fn" and node[1] in ("mod", "gcd", "lcm"):
        return True
    return any(isinstance(c, tuple) and c and isinstance(c[0], str) and _of_whole(c) for c in node[1:])


def sample_points(*nodes: Node) -> list[int]:
    """The points at which trees are to be compared."""
    if not any(symbols(node) for node in nodes):
        return [0]
    if any(stepped(node) for node in nodes):
        names = frozenset().union(*(symbols(node) for node in nodes))
        broken = BROKEN_POINTS if names - _WHOLE_NAMES and not any(_of_whole(node) for node in nodes) else 0
        return list(range(POINTS, POINTS + WHOLE_POINTS + broken))
    return list(range(POINTS))


class Evaluator:
    """Evaluates trees at one sample point; counts the work done."""

    def __init__(self, point: int = 0) -> None:
        self.point = point
        self.work = 0
        self.branched = False
        """Some root or logarithm had no real value: another branch of it might be meant."""
        self.bound: dict[str, Fraction] = {}
        self.mp = _context()

    def value(self, node: Node) -> Value:
        """The value of a tree.

        Raises:
            TooCostly: if computing it would cost too much.
            Unreadable: if it has no single value (division by zero, a set, words).
        """
        method = getattr(self, "_" + node[0], None)
        if method is None:
            raise Undefined(f"a {node[0]} has no single value")
        try:
            return self._tidied(method(*node[1:]))
        except (ZeroDivisionError, OverflowError, ValueError, TypeError) as error:
            if isinstance(error, Unreadable):
                raise
            raise Undefined(f"no value: {error}") from None

    def inexact(self, value: Value) -> Value:
        """A value as mpf or mpc."""
        if isinstance(value, Fraction):
            return self.mp.mpf(value.numerator) / value.denominator
        return value

    def _tidied(self, value: Value) -> Value:
        if isinstance(value, Fraction):
            bits = value.numerator.bit_length() + value.denominator.bit_length()
            self.work += bits
            if bits > 2 * MAX_BITS or self.work > MAX_WORK:
                raise TooCostly("the value has too many digits")
            return value
        self.work += 256
        if isinstance(value, self.mp.mpc):
            # Rounding leaves dust in one part of numbers that are real or imaginary.
            if abs(value.imag) <= _TOO_SMALL * abs(value.real):
                value = value.real
            elif abs(value.real) <= _TOO_SMALL * abs(value.imag):
                value = self.mp.mpc(0, value.imag)
        if self.mp.isnan(value):
            raise Undefined("the value is not defined")
        return value

    def _num(self, value: Fraction, decimals: int | None) -> Value:
        return value

    def _sym(self, name: str) -> Value:
        return self.bound[name] if name in self.bound else sample(name, self.point)

    def _series(self, kind: str, variable: str, low: Node, high: Node, body: Node) -> Value:
        first, last = self.value(low), self.value(high)
        if not isinstance(first, Fraction) or not isinstance(last, Fraction):
            raise Unreadable("a series without whole bounds")
        if first.denominator != 1 or last.denominator != 1:
            raise Unreadable("a series without whole bounds")
        if last - first >= MAX_TERMS:
            raise TooCostly("the series is too long to add up")
        outer = self.bound.get(variable)
        total = Fraction(int(kind == "prod"))
        for n in range(int(first), int(last) + 1):
            self.bound[variable] = Fraction(n)
            term = self.value(body)
            total = self._tidied(self._plus(total, term) if kind == "sum" else self._times(total, term))
        self.bound.pop(variable)
        if outer is not None:
            self.bound[variable] = outer
        return total

    def _const(self, name: str) -> Value:
        if name == "i":
            return self.mp.mpc(0, 1)
        return {"pi": +self.mp.pi, "e": +self.mp.e, "infty": self.mp.inf}[name]

    def _add(self, *terms: Node) -> Value:
        total = self.value(terms[0])
        for term in terms[1:]:
            total = self._plus(total, self.value(term))
        return total

    def _plus(self, a: Value, b: Value) -> Value:
        if isinstance(a, Fraction) and isinstance(b, Fraction):
            return self._tidied(a + b)
        a, b = self.inexact(a), self.inexact(b)
        total = a + b
        # What is left after such a cancellation is rounding: the sum is zero.
        return Fraction(0) if abs(total) <= 1e-48 * max(abs(a), abs(b)) else self._tidied(total)

    def _neg(self, a: Node) -> Value:
        return -self.value(a)

    def _mul(self, a: Node, b: Node) -> Value:
        return self._times(self.value(a), self.value(b))

    def _times(self, a: Value, b: Value) -> Value:
        if isinstance(a, Fraction) and isinstance(b, Fraction):
            return a * b
        if a == 0 or b == 0:
            return Fraction(0)
        return self.inexact(a) * self.inexact(b)

    def _div(self, a: Node, b: Node) -> Value:
        top, bottom = self.value(a), self.value(b)
        if bottom == 0:
            raise Undefined("division by zero")
        if isinstance(top, Fraction) and isinstance(bottom, Fraction):
            return top / bottom
        return Fraction(0) if top == 0 else self.inexact(top) / self.inexact(bottom)

    def _pct(self, a: Node) -> Value:
        return self.value(a) / 100

    def _deg(self, a: Node) -> Value:
        return self.value(a)

    def _pow(self, a: Node, b: Node) -> Value:
        return self._power(self.value(a), self.value(b))

    def _power(self, base: Value, exponent: Value) -> Value:
        if isinstance(base, Fraction) and isinstance(exponent, Fraction):
            if exponent.denominator == 1:
                return self._integer_power(base, exponent.numerator)
            root = exact_root(base, exponent.denominator)
            if root is not None:
                return self._integer_power(root, exponent.numerator)
        if exponent == 0:
            return Fraction(1)
        if base == 0:
            if isinstance(exponent, Fraction) and exponent > 0:
                return Fraction(0)
            raise Undefined("a power of zero")
        x, y = self.inexact(base), self.inexact(exponent)
        if self.mp.isinf(x) or self.mp.isinf(y):
            raise Undefined("a power of infinity")
        if abs(y) * (abs(self.mp.log(abs(x))) + 4) > _MAX_EXPONENT:
            raise TooCostly("the power is too large to compute")
        power = self.mp.power(x, y)
        self.branched |= isinstance(power, self.mp.mpc)
        return power

    def _integer_power(self, base: Fraction, exponent: int) -> Value:
        if base == 0 and exponent <= 0:
            raise Undefined("zero to the power zero or less")
        if base in (0, 1):
            return base
        if base == -1:
            return Fraction(1 if exponent % 2 == 0 else -1)
        if exponent.bit_length() > 64 or _bits(base) * abs(exponent) > MAX_BITS:
            raise TooCostly("the power is too large to compute")
        return base**exponent

    def _root(self, degree: Node, a: Node) -> Value:
        n, x = self.value(degree), self.value(a)
        if isinstance(x, Fraction) and isinstance(n, Fraction) and n.denominator == 1 and 0 < n <= 64:
            root = exact_root(abs(x), int(n))
            if root is not None and (x >= 0 or n % 2 == 1):
                return root if x >= 0 else -root
        if isinstance(n, Fraction) and n % 2 == 1 and not isinstance(x, self.mp.mpc) and x < 0:
            return -self._power(-x, 1 / n)
        if n == 0:
            raise Undefined("the zeroth root")
        return self._power(x, 1 / n)

    def _ratio(self, a: Node, b: Node, *more: Node) -> Value:
        if more:
            raise Undefined("a ratio of three has no single value")
        return self._div(a, b)

    def _set(self, members: tuple[Node, ...]) -> Value:
        if len(members) != 1 or members[0][0] != "sym":
            raise Undefined("a set has no single value")
        value = self.value(members[0])  # the part of x behind the point
        return self._plus(value, -functions.apply(self, "floor", (members[0],)))

    def _matrix(self, rows: tuple[tuple[Node, ...], ...]) -> Value:
        raise Undefined("a matrix has no single value")

    def _fn(self, name: str, *args: Node) -> Value:
        return functions.apply(self, name, args)


def _bits(value: Fraction) -> int:
    return max(value.numerator.bit_length(), value.denominator.bit_length())


def exact_root(value: Fraction, degree: int) -> Fraction | None:
    """The ``degree``-th root of a fraction if that is a fraction again; ``None`` otherwise."""
    if value < 0 or degree > 64 or _bits(value) > 2048:
        return None
    parts = []
    for n in (value.numerator, value.denominator):
        if degree == 2:
            root = math.isqrt(n)
        elif n.bit_length() <= 1000:
            root = round(n ** (1 / degree)) if n.bit_length() < 50 else _integer_root(n, degree)
        else:
            return None
        if root**degree != n:
            return None
        parts.append(root)
    return Fraction(parts[0], parts[1])


def _integer_root(n: int, degree: int) -> int:
    low, high = 0, 1 << (n.bit_length() // degree + 1)
    while low < high:
        middle = (low + high + 1) // 2
        if middle**degree <= n:
            low = middle
        else:
            high = middle - 1
    return low
