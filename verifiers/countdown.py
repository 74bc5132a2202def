"""Countdown: reach a target from given numbers with + − × ÷, each number at most once.

The answer is parsed to a syntax tree in which only numbers, the four operations and signs may stand; it is then
computed in exact fractions. Nothing is evaluated by Python, and the length and character checks in front of the
parser turn away hostile text in microseconds, so no worker process is needed.
"""

from __future__ import annotations

import ast
import re
import time
from collections import Counter
from collections.abc import Sequence
from fractions import Fraction
from typing import ClassVar

from colasearch.problem import Problem
from colasearch.verifiers.base import Verdict
from colasearch.verifiers.extract import extract_countdown, plain_arithmetic

MAX_EXPRESSION_CHARS = 400
"""A longer expression is rejected unread: a hundred numbers fit into it."""
MAX_DIGITS = 15
"""Longest number that may be written."""

_ALLOWED = re.compile(r"[\d+\-*/() .]+")
_OPERATION = re.compile(r"[\d)]\s*[+\-*/]")
_LONG_NUMBER = re.compile(rf"\d{{{MAX_DIGITS + 1}}}")


class ExpressionError(ValueError):
    """The text is not an expression of Countdown; the message says why."""


def evaluate_expression(expression: str) -> tuple[Fraction, list[Fraction]]:
    """The exact value of an expression in ``+ - * /`` and brackets, and the numbers that it uses, left to right.

    Raises:
        ExpressionError: if the text is too long, has other characters or operators, or divides by zero.
    """
    if len(expression) > MAX_EXPRESSION_CHARS:
        raise ExpressionError(f"{len(expression)} characters, at most {MAX_EXPRESSION_CHARS} are read")
    if not _ALLOWED.fullmatch(expression):
        raise ExpressionError("only numbers, + - * / and brackets may be used")
    if "**" in expression or "//" in expression or _LONG_NUMBER.search(expression):
        raise ExpressionError("powers, whole division and very long numbers may not be used")
    try:
        tree = ast.parse(expression.strip(), mode="eval").body
    except (SyntaxError, ValueError, RecursionError, MemoryError):
        raise ExpressionError("not a well-formed expression") from None
    used: list[Fraction] = []
    return _value(tree, used), used


def _value(node: ast.expr, used: list[Fraction]) -> Fraction:
    if isinstance(node, ast.Constant) and type(node.value) in (int, float):
        # A float is taken by its written digits, so that 2.0 is the number 2.
        used.append(Fraction(str(node.value)))
        return used[-1]
    if isinstance(node, ast.UnaryOp) and isinstance(node.op, ast.USub | ast.UAdd):
        operand = _value(node.operand, used)
        return -operand if isinstance(node.op, ast.USub) else operand
    if isinstance(node, ast.BinOp):
        left, right = _value(node.left, used), _value(node.right, used)
        match node.op:
            case ast.Add():
                return left + right
            case ast.Sub():
                return left - right
            case ast.Mult():
                return left * right
            case ast.Div():
                if right == 0:
                    raise ExpressionError("division by zero")
                return left / right
    raise ExpressionError("only numbers, + - * / and brackets may be used")


class Countdown:
    """Checkable verifier of Countdown and of the game of 24.

    ``Problem.data`` holds ``numbers`` (list of int) and ``target`` (int); ``"use": "all"`` there, or ``use_all``
    here, asks that every number be used exactly once instead of at most once.

    Args:
        use_all: Every number must be used exactly once.
        format_reward: Reward of a well-formed expression that is wrong; text without one gets 0.
    """

    checkable: ClassVar[bool] = True

    def __init__(self, use_all: bool = False, format_reward: float = 0.1) -> None:
        self.use_all = use_all
        self.format_reward = format_reward

    def score(self, problem: Problem, answer_text: str) -> Verdict:
        """Full reward if the last expression of the text reaches the target within the rules."""
        start = time.perf_counter()
        reward, reason = self._judge(problem, answer_text)
        return Verdict(reward, reason, time.perf_counter() - start)

    def score_batch(self, items: Sequence[tuple[Problem, str]]) -> list[Verdict]:
        """Score many answers; one verdict an item, in order."""
        return [self.score(problem, text) for problem, text in items]

    def _judge(self, problem: Problem, answer_text: str) -> tuple[float | None, str]:
        try:
            numbers = Counter(Fraction(str(n)) for n in problem.data["numbers"])
            target = Fraction(str(problem.data["target"]))
        except (KeyError, TypeError, ValueError, ZeroDivisionError):
            return None, "the problem has no readable numbers and target"
        answer = extract_countdown(answer_text)
        if answer is None:
            return 0.0, "no answer"
        sides = plain_arithmetic(answer).split("=")
        # "24 = 3 * 8": the side with an operator is the expression, the others are claims about its value.
        expression = next((side for side in sides if _OPERATION.search(side)), sides[0])
        claims = [side for side in sides if side is not expression]
        try:
            value, used = evaluate_expression(expression)
            if any(evaluate_expression(claim)[0] != value for claim in claims):
                return 0.0, "the stated result is not the expression's value"
        except ExpressionError as error:
            return 0.0, f"not an expression: {error}"
        count = Counter(used)
        too_many = [n for n in count if count[n] > numbers[n]]
        if too_many:
            return self.format_reward, f"uses {too_many[0]} more often than it is given"
        if (self.use_all or problem.data.get("use") == "all") and count != numbers:
            return self.format_reward, "does not use every number"
        if value != target:
            return self.format_reward, f"gives {_shown(value)}, not {_shown(target)}"
        return 1.0, "reaches the target"


def _shown(value: Fraction) -> str:
    text = str(value)
    return text if len(text) <= 40 else text[:37] + "..."
