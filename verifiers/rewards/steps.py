"""Steps of a text, and one number of several: what process rewards have in common."""

from __future__ import annotations

import math
from collections.abc import Sequence

AGGREGATIONS = ("min", "last", "prod", "mean")


def steps_of(text: str, separator: str) -> list[str]:
    """The steps of a text, without separators and empty ones; the last may be unfinished."""
    return [step for step in text.split(separator) if step.strip()]


def aggregate(values: Sequence[float], how: str) -> float:
    """One number for the values of a text's steps.

    Args:
        values: In the order of the steps; at least one.
        how: ``min``, ``last``, ``prod`` or ``mean``.
    """
    match how:
        case "min":
            return min(values)
        case "last":
            return values[-1]
        case "prod":
            return math.prod(values)
    return math.fsum(values) / len(values)
