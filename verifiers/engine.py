r"""Math-Verify behind a check, for answers outside our grammar. Runs in worker processes only.

What is in front of it: extraction, our own grammar for all that it can read, bare answers set in a formula (math-verify
reads LaTeX only there), the right order of arguments. What is behind it: its equality is believed only if the values
also agree to 30 digits, where both have values, because it rounds to 6 decimals (1/2004! = 1/2006!) and takes any
equation for its right side (3x + 4y + 14 = 0 for 0).
"""

from __future__ import annotations

import logging
import re
from typing import Any

import sympy
from math_verify import ExprExtractionConfig, LatexExtractionConfig, parse, verify
from sympy.core.relational import Relational

from colasearch.verifiers.extract import prose_words

logging.getLogger("math_verify").setLevel(logging.CRITICAL)
logging.getLogger("latex2sympy2_extended").setLevel(logging.CRITICAL)

MAX_COUNT = 10_000
"""Largest argument of factorials and binomials, exponent and length of series that sympy is given."""
_AGREE = sympy.Float("1e-25", 30)


def _parse(answer: str) -> list[Any]:
    """What math-verify reads in a bare answer, set in a formula or, failing that, as plain text."""
    # Its own timeouts are signals; here the process is killed instead.
    boxed = parse(
        "$\\boxed{" + answer + "}$",
        extraction_config=[LatexExtractionConfig(boxed_match_priority=0)],
        parsing_timeout=None,
    )
    if any(not isinstance(item, str) for item in boxed):
        return list(boxed)
    plain = parse(answer, extraction_config=[ExprExtractionConfig()], parsing_timeout=None)
    return [*plain, *boxed]


def is_prose(text: str) -> bool:
    """Whether a text is sentences with formulas in them: math-verify would pick one of the formulas."""
    return "$" in text.strip("$") or len(prose_words(text)) > 4


def costly(value: Any) -> bool:
    """Whether working a value out is hopeless within any deadline: huge factorials, powers, binomials, series."""
    if not isinstance(value, sympy.Basic):
        return False
    for node in sympy.preorder_traversal(value):
        numbers = [abs(a) for a in node.args if isinstance(a, sympy.Number) and a.is_finite]
        if isinstance(node, sympy.factorial | sympy.binomial) and any(n > MAX_COUNT for n in numbers):
            return True
        if isinstance(node, sympy.Pow) and len(numbers) == 2 and numbers[0] != 1 and numbers[1] > MAX_COUNT:
            return True
        if isinstance(node, sympy.Sum | sympy.Product):
            for _, *bounds in node.limits:
                if len(bounds) == 2 and (bounds[1] - bounds[0]).is_Number and bounds[0].is_finite:
                    difference = bounds[1] - bounds[0]
                    if difference.is_finite and difference > MAX_COUNT:
                        return True
    return False


def _has_float(value: Any) -> bool:
    return bool(isinstance(value, sympy.Basic) and value.has(sympy.Float))


def _agree(gold: Any, pred: Any) -> bool:
    """Whether two values that math-verify calls equal are so to many digits; true where there is nothing to check."""
    if isinstance(pred, Relational) and not isinstance(gold, Relational | sympy.Set):
        return bool(getattr(pred, "lhs", None) is not None and pred.lhs.is_Symbol)
    if not isinstance(gold, sympy.Expr) or not isinstance(pred, sympy.Expr):
        return True
    if gold.free_symbols or pred.free_symbols or _has_float(gold) or _has_float(pred):
        return True
    if gold == pred:
        return True
    a, b = sympy.N(gold.doit(), 40), sympy.N(pred.doit(), 40)
    if not (a.is_number and b.is_number):
        return True
    scale = max(abs(a), abs(b))
    if scale == 0:
        return True
    percent = (1, 100, sympy.Rational(1, 100))  # its reading of a percent sign is ours too
    return any(bool(abs(a - b * factor) <= _AGREE * max(scale, abs(b * factor))) for factor in percent)


def _integrated(gold: Any, pred: Any) -> bool:
    """Whether an integral and the other value agree to many digits, each worked out by itself.

    math-verify works out their difference to full precision, which takes 20 times as long where they are equal.
    """
    if not (isinstance(gold, sympy.Expr) and isinstance(pred, sympy.Expr)):
        return False
    if not (gold.has(sympy.Integral) or pred.has(sympy.Integral)):
        return False
    if gold.free_symbols or pred.free_symbols or _has_float(gold) or _has_float(pred):
        return False
    a, b = sympy.N(gold, 40), sympy.N(pred, 40)
    if not (a.is_number and b.is_number and a.is_finite and b.is_finite) or a.has(sympy.Integral) or a == 0:
        return False
    return bool(abs(a - b) <= _AGREE * abs(a))


_KNOWN = frozenset(
    re.findall(
        r"\w+",
        "int iint oint sum prod lim infty to rightarrow frac dfrac tfrac sqrt pi sin cos tan cot sec csc "
        "arcsin arccos arctan sinh cosh tanh ln log exp partial cdot times left right le ge leq geq ne text "
        "mathrm operatorname quad qquad begin end cup cap infinity degree circ binom pm mp alpha beta gamma "
        "theta lambda mu sigma phi omega displaystyle boxed limits mathop in mathbb emptyset varnothing "
        "setminus ldots cdots div lbrace rbrace langle rangle mathbf d",
    )
)
"""Commands whose meaning math-verify takes into account, or that have none."""
_COMMAND = re.compile(r"\\([A-Za-z]+)|(?<![A-Za-z\\])([fghuvFGHPE])'*\s*(?:\\left\s*)?(?=\()")
_BOUND = re.compile(r"\\(?:sum|prod)\s*_\s*\{\s*([A-Za-z])\s*=")


def _same_unknown(gold: str, pred: str) -> bool:
    """Whether what math-verify reads as mere letters (unknown commands, functions without a formula) is in both alike.

    It takes f(x) for a product, and drops the difference between an infimum and a supremum.
    """
    if any(
        re.search(rf"_\s*\{{?\s*{name}(?![A-Za-z]|\s*=)", text)
        for text in (gold, pred)
        for name in _BOUND.findall(text)
    ):
        return False  # terms of a series that are not known
    unknown = [sorted(a or b for a, b in _COMMAND.findall(text) if b or a not in _KNOWN) for text in (gold, pred)]
    return unknown[0] == unknown[1] and not (unknown[0] and any(b for _, b in _COMMAND.findall(gold)))


def judge(job: list[str]) -> dict[str, Any]:
    """Compare ``job`` = [gold, predicted answer], both bare.

    Returns:
        ``verdict``: equal or not, ``None`` if the gold answer cannot be read; ``reason``.
    """
    gold_text, pred_text = job
    if is_prose(gold_text):
        return {"verdict": None, "reason": "the gold answer cannot be read"}
    if is_prose(pred_text):
        return {"verdict": False, "reason": "the answer cannot be read"}
    gold = _parse(gold_text)
    if not any(not isinstance(item, str) for item in gold):
        return {"verdict": None, "reason": "the gold answer cannot be read"}
    pred = [item for item in _parse(pred_text) if not isinstance(item, str)]
    if not pred:
        return {"verdict": False, "reason": "the answer cannot be read"}
    gold = [item for item in gold if not isinstance(item, str)]
    if any(costly(item) for item in [*gold, *pred]):
        return {"verdict": False, "reason": "too large to compute"}
    for g in gold:
        for p in pred:
            if not _same_unknown(gold_text, pred_text):
                continue
            if _integrated(g, p) or (verify(g, p, timeout_seconds=None) and _agree(g, p)):
                return {"verdict": True, "reason": "equal (math-verify)"}
    return {"verdict": False, "reason": "different (math-verify)"}
