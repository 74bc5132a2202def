r"""Canonical keys: two answers are equal for voting when their keys are equal, so equality is transitive.

Comparison with a gold answer is laxer in places where one key cannot serve two readings: here a percent sign is a
unit (``10\%`` is 10), ``x = 5`` is 5, and a written decimal is exact.
"""

from __future__ import annotations

import contextlib
from collections.abc import Hashable, Sequence
from functools import lru_cache

from colasearch.verifiers.answer import parse
from colasearch.verifiers.compare import is_equation, spelled
from colasearch.verifiers.countdown import ExpressionError, evaluate_expression
from colasearch.verifiers.extract import plain_arithmetic
from colasearch.verifiers.nodes import Node
from colasearch.verifiers.scalar import proportion_key, scalar_key
from colasearch.verifiers.sides import is_name


def canonical_key(answer: str, task: str = "math") -> Hashable:
    """A key that mathematically equal answers share; never raises, and starts no process."""
    if task == "countdown":
        return _countdown_key(answer)
    return _math_key(answer)


def _countdown_key(answer: str) -> Hashable:
    """Two expressions are the same answer when they use the same numbers and give the same value."""
    try:
        value, used = evaluate_expression(plain_arithmetic(answer).split("=")[0])
    except ExpressionError:
        return ("text", answer.strip())
    return ("countdown", value, tuple(sorted(used)))


@lru_cache(maxsize=8192)
def _math_key(answer: str) -> Hashable:
    parsed = parse(answer)
    if parsed.node is not None:
        with contextlib.suppress(ValueError, ArithmeticError, TypeError, LookupError, RecursionError):
            return node_key(parsed.node)
    return ("text", parsed.squashed.lower())


def node_key(node: Node) -> Hashable:
    """The key of a syntax tree.

    Raises:
        Unreadable: if it has no canonical form here, or computing one would cost too much.
    """
    kind = node[0]
    words = spelled(node) if kind in ("text", "sym") else None
    if words is not None:
        return ("text", words)
    if kind in ("unit", "pct", "deg"):
        return node_key(node[1])
    if kind == "neg" and node[1][0] == "pct":
        return node_key(("neg", node[1][1]))
    if kind == "rel":
        return _relation_key(node)
    if kind in ("list", "set"):
        keys = sorted((node_key(n) for n in node[1]), key=repr)
        return keys[0] if len(set(keys)) == 1 else ("set", tuple(keys))
    if kind == "group":
        return ("group", node[1], node[2], tuple(node_key(n) for n in node[3]))
    if kind == "matrix":
        return ("matrix", tuple(tuple(node_key(n) for n in row) for row in node[1]))
    if kind == "union":
        return ("union", tuple(sorted((node_key(n) for n in node[1:]), key=repr)))
    if kind == "setop":
        return ("setop", node[1], node_key(node[2]), node_key(node[3]))
    if kind == "based":
        return ("based", *node[1:])
    return scalar_key(node)


def _relation_key(node: Node) -> Hashable:
    operators, sides = node[1], node[2]
    if operators == ("in",) or (is_equation(node) and is_name(sides[0])):
        return node_key(sides[-1])
    if is_equation(node) and node_key(sides[0]) == node_key(sides[-1]):
        return node_key(sides[-1])  # a calculation with its result, as 3 + 5 = 8
    if len(operators) == 1 and operators[0] in ("=", "!=", "<", "<=", ">", ">="):
        flip = operators[0] in (">", ">=")
        left, right = (sides[1], sides[0]) if flip else (sides[0], sides[1])
        sign = {">": "<", ">=": "<="}.get(operators[0], operators[0])
        return ("relation", sign, proportion_key(("add", right, ("neg", left)), sign in ("<", "<=")))
    if all(op in (">", ">=") for op in operators):
        operators = tuple({">": "<", ">=": "<="}[op] for op in reversed(operators))
        sides = tuple(reversed(sides))
    return ("chain", operators, tuple(node_key(s) for s in sides))


def group_answers(answers: Sequence[str], task: str = "math") -> list[int]:
    """Group ids of answers: equal ids for mathematically equal answers, numbered by first appearance.

    The partition does not depend on the order of ``answers``. Never raises on bad text, and starts no process: what
    is outside the grammar is grouped by its letters.
    """
    ids: dict[Hashable, int] = {}
    return [ids.setdefault(canonical_key(answer, task), len(ids)) for answer in answers]
