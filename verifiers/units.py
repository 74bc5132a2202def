"""Units of measurement: which spellings mean the same, and when two units contradict each other."""

from __future__ import annotations

import re

from colasearch.verifiers.nodes import Node

LETTER_UNITS = frozenset("mgshLlNJWVAKFC")
"""Units of one letter, which the grammar reads as variables."""

_SAME = (
    "mm millimeter millimetre", "cm centimeter centimetre", "m meter metre", "km kilometer kilometre",
    "in inch inches", "ft foot feet", "yd yard", "mi mile", "g gram", "kg kilogram", "mg milligram",
    "lb lbs pound", "oz ounce", "s sec second", "min minute", "h hr hour", "day", "week", "month", "year yr",
    "ml milliliter millilitre", "l liter litre", "gal gallon", "cent", "dollar usd", "euro", "deg degree", "rad radian",
    "unit", "a.m. am", "p.m. pm",
)  # fmt: skip
_CANONICAL = {word: group.split()[0] for group in _SAME for word in group.split()}


_RATES = {"mph": "mile per hour", "kph": "kilometer per hour", "kmh": "kilometer per hour"}


def is_unit(word: str) -> bool:
    """Whether a word, in lower case, is a unit of the table."""
    return word in _RATES or word in _CANONICAL or word.rstrip("s") in _CANONICAL


def canonical_unit(words: str) -> tuple[str, str] | None:
    """One spelling of a unit, and its power; ``None`` for words that are no unit of the table (apples, ways)."""
    words = re.sub(r"\b(?:mph|kph|kmh)\b", lambda m: _RATES[m.group()], words.lower().replace("\\", " "))
    written = re.search(r"\^(\d)", words)
    power = "3" if re.search(r"cubic|cu\b|cubed", words) else "2" if "sq" in words else written[1] if written else ""
    bare = re.sub(r"\^\d|\b(?:square[ds]?|sq|cubic|cubed|cu)\b\.?", " ", words)
    found = [
        "/" if w == "per" else _CANONICAL.get(w) or _CANONICAL.get(w.rstrip("s")) or _CANONICAL.get(w.rstrip("."))
        for w in re.findall(r"[a-z.]+", bare)
        if w != "of"
    ]
    if not found or None in found:
        return None
    return " ".join(str(f) for f in found), power


def conflicting_units(a: str, b: str) -> bool:
    """Whether two units are both known and differ: centimetres and metres, hours and minutes, cm^2 and cm^3."""
    x, y = canonical_unit(a), canonical_unit(b)
    if x is None or y is None:  # pages per hour, pages per day
        u, v = (canonical_unit(w.rpartition("per ")[2]) if "per " in w else None for w in (a, b))
        return u is not None and v is not None and u != v
    if x[0].startswith("/") or y[0].startswith("/"):  # $18/day: its money has lost its name
        return x[0].rpartition("/")[2] != y[0].rpartition("/")[2] or ("/" in x[0]) != ("/" in y[0])
    # An area given in plain centimetres is a slip of the pen, not another answer.
    return x[0] != y[0] or bool(x[1] and y[1] and x[1] != y[1])


def _letter_unit(node: Node) -> str | None:
    """The unit that a tree of letters is: ``m``, ``m^2``, ``m/s``; ``None`` for anything else."""
    if node[0] == "sym" and node[1] in LETTER_UNITS:
        return str(node[1])
    if node[0] == "pow" and node[2][0] == "num":
        base = _letter_unit(node[1])
        return None if base is None else f"{base}^{node[2][1]}"
    if node[0] in ("mul", "div"):
        left, right = _letter_unit(node[1]), _letter_unit(node[2])
        return None if left is None or right is None else f"{left}{' per ' if node[0] == 'div' else ' '}{right}"
    return None


def without_letter_units(node: Node) -> tuple[Node, str]:
    """A quantity and its units of one letter, which were read as variables: ``9.8 m/s`` is 9.8 and ``m per s``."""
    if node[0] not in ("mul", "div"):
        return node, ""
    last = _letter_unit(node[2])
    if last is None:
        return node, ""
    quantity, unit = without_letter_units(node[1])
    return quantity, f"{unit} per {last}" if node[0] == "div" else f"{unit} {last}".strip()
