r"""Plain numbers, exactly and without sympy: the answers that most texts end in.

``parse_plain`` reads integers, decimals, thousands separators, fractions, mixed numbers, money, percent and degrees,
and a unit behind a number. Anything else is left to the expression parser.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from fractions import Fraction

MAX_DIGITS = 256
"""A longer run of digits is no plain number."""

_INT = r"\d+|\d{1,3}(?:,\d{3})+"
_BRACED = r"\{\s*([-+]?\d+)\s*\}"
_PATTERN = re.compile(
    r"(?P<sign>[-+]?)\s*(?:\\?[$€£]\s*)?(?P<sign2>[-+]?)\s*"
    r"(?:"
    r"(?P<mixed>\d+)(?:\s+(?P<mn>\d+)\s*/\s*(?P<md>\d+)|\s*\\frac\s*(?:\{\s*(?P<mn2>\d+)\s*\}|(?P<mn3>\d))\s*(?:\{\s*(?P<md2>\d+)\s*\}|(?P<md3>\d)))"
    r"|\\frac\s*(?:\{\s*(?P<fn>[-+]?\d+)\s*\}|(?P<fn2>\d))\s*(?:\{\s*(?P<fd>[-+]?\d+)\s*\}|(?P<fd2>\d))"
    r"|(?P<num>\d{1,3}(?:,\d{3})+|\d+)\s*/\s*(?P<den>\d{1,3}(?:,\d{3})+|\d+)"
    r"|(?P<int>\d{1,3}(?:,\d{3})+(?!\d)|\d+)?(?P<dec>\.\d*)?"
    r")"
    r"\s*(?P<suffix>\\?%|percent|\\text\{\s*percent\s*\}|\\degree|degrees?|\\text\{\s*degrees?\s*\})?\s*"
)


@dataclass(frozen=True, slots=True)
class Plain:
    """A plain number.

    Attributes:
        value: The number as written, a percent sign not applied.
        decimals: Digits behind the decimal point; ``None`` for integers and fractions.
        percent: A percent sign follows.
    """

    value: Fraction
    decimals: int | None = None
    percent: bool = False


def _int(text: str) -> int:
    return int(text.replace(",", ""))


def parse_plain(text: str) -> Plain | None:
    """The number that a tidied answer is, or ``None`` if it is anything else; microseconds."""
    if len(text) > MAX_DIGITS:
        return None
    match = _PATTERN.fullmatch(text)
    if match is None:
        return None
    part = match.groupdict()
    if part["sign"] and part["sign2"]:
        return None
    negative = "-" in (part["sign"], part["sign2"])
    decimals: int | None = None
    if part["mixed"]:
        den = int(part["md"] or part["md2"] or part["md3"])
        if den == 0:
            return None
        value = int(part["mixed"]) + Fraction(int(part["mn"] or part["mn2"] or part["mn3"]), den)
    elif part["fn"] or part["fn2"]:
        den = int(part["fd"] or part["fd2"])
        if den == 0:
            return None
        value = Fraction(int(part["fn"] or part["fn2"]), den)
    elif part["num"]:
        den = _int(part["den"])
        if den == 0:
            return None
        value = Fraction(_int(part["num"]), den)
    else:
        whole, digits = part["int"], (part["dec"] or "")[1:]
        if not whole and not digits:
            return None
        value = Fraction(int((whole or "0").replace(",", "") + digits), 10 ** len(digits))
        decimals = len(digits) if digits else None
    suffix = part["suffix"] or ""
    percent = "%" in suffix or "percent" in suffix
    return Plain(-value if negative else value, decimals, percent)
