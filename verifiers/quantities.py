"""Numbers of a problem that a solution never mentions. Needs no gold answer, and is a hint only.

The problem says ``43 red apples, 32 green ones, 2 are eaten`` and the solution speaks of 43 and 2 alone: it may be
right, since problems also tell what does not matter, but it is right less often than one that uses all three.
"""

from __future__ import annotations

import re
from fractions import Fraction

_NUMERAL = re.compile(r"\d+(?:,\d{3})*(?:\.\d+)?|\.\d+")
LONGEST = 30
"""A numeral of more characters is not looked at."""


def unused_numbers(problem: str, text: str) -> list[str]:
    """Numerals of ``problem`` whose value ``text`` does not mention, each value once, in order.

    Only digits count (``1,000`` and ``1000`` are one value); a number may be mentioned as its hundredth too, as a
    percentage is.
    """
    mentioned = set(_values(text))
    return [
        numeral
        for value, numeral in _values(problem).items()
        if value not in mentioned and value / 100 not in mentioned
    ]


def _values(text: str) -> dict[Fraction, str]:
    found: dict[Fraction, str] = {}
    for match in _NUMERAL.finditer(text):
        if len(match[0]) <= LONGEST:
            found.setdefault(Fraction(match[0].replace(",", "")), match[0])
    return found
