"""Units of measurement: which spellings mean the same, and when two units contradict each other."""

from __future__ import annotations

import re

_SAME = (
    "mm millimeter millimetre", "cm centimeter centimetre", "m meter metre", "km kilometer kilometre",
    "in inch inches", "ft foot feet", "yd yard", "mi mile", "g gram", "kg kilogram", "mg milligram",
    "lb lbs pound", "oz ounce", "s sec second", "min minute", "h hr hour", "day", "week", "month", "year yr",
    "ml milliliter millilitre", "l liter litre", "gal gallon", "cent", "dollar usd", "euro", "deg degree", "rad radian",
    "mph", "a.m. am", "p.m. pm",
)  # fmt: skip
_CANONICAL = {word: group.split()[0] for group in _SAME for word in group.split()}


def canonical_unit(words: str) -> str | None:
    """One spelling of a unit; ``None`` for words that are no unit of the table (apples, ways)."""
    words = words.lower().replace("\\", " ")
    power = "3" if re.search(r"cubic|cu\b|\^3|cubed", words) else "2" if re.search(r"sq|\^2", words) else ""
    bare = re.sub(r"\^\d|\b(?:square[ds]?|sq|cubic|cubed|cu)\b\.?", " ", words)
    found = [
        _CANONICAL.get(w) or _CANONICAL.get(w.rstrip("s")) or _CANONICAL.get(w.rstrip("."))
        for w in re.findall(r"[a-z.]+", bare)
        if w not in ("per", "of")
    ]
    if not found or None in found:
        return None
    return "/".join(str(f) for f in found) + power


def conflicting_units(a: str, b: str) -> bool:
    """Whether two units are both known and differ: centimetres and metres, hours and minutes."""
    x, y = canonical_unit(a), canonical_unit(b)
    if x is None or y is None:
        return False
    return x.rstrip("23") != y.rstrip("23") if (x[-1] in "23" and y[-1] not in "23") or y[-1] in "23" else x != y
