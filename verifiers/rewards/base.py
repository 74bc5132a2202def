"""What a reward is: a batch of problems and texts goes in, a number or a reason comes out for each.

The rule that brings numbers into [0, 1] is part of the spec (``?scale=``):

- ``given``: the number as it is.
- ``sigmoid``: 1 / (1 + exp(-x)); the rule for scores of reward models.
- ``LO,HI``: (x - LO) / (HI - LO), clipped; LO above HI turns the order round.

Searches and training want [0, 1]; a number outside ends them with a message that names these rules
(:func:`within_unit`), because a search on a scale that is not meant is worse than none.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Protocol

from colasearch.errors import RewardError
from colasearch.problem import LabelledProblem, Problem

Item = Problem | LabelledProblem
"""Searches hand over a ``Problem``, trainers and scorers a ``LabelledProblem``: so no search sees a gold answer."""
ROUNDING = 1e-6
"""How far outside [0, 1] a number may be, for the rounding of single precision."""


@dataclass(frozen=True, slots=True)
class Score:
    """What a reward says of one text.

    Attributes:
        value: The number; None where there is none.
        reason: Why there is none; empty where there is one.
        failed: There is none because something went wrong (an exception, NaN, a refusing server), not by choice.
    """

    value: float | None
    reason: str = ""
    failed: bool = False


class RewardSource(Protocol):
    """Scores texts in batches."""

    name: str

    def score(self, problems: Sequence[Item], texts: Sequence[str]) -> list[Score]:
        """One score a text, in order; what is wrong with one text alone is in its score.

        Raises:
            RewardError: The reward itself cannot be used (a wrong number of results, ...).
            PrerequisiteError: Its server or model is not there.
        """
        ...


def rewards(source: RewardSource, problems: Sequence[Item], texts: Sequence[str]) -> list[float | None]:
    """The numbers alone."""
    return [score.value for score in source.score(problems, texts)]


def plain(item: Item) -> Problem:
    """The problem without its gold answer."""
    return item.problem if isinstance(item, LabelledProblem) else item


def joined(item: Item, text: str) -> str:
    """Problem and text as one: what is sent to whom wants one string."""
    return f"{plain(item).text}\n{text}"


def checked(value: Any, scale: str = "given") -> Score:
    """A number as someone else gave it, brought to ``scale``; NaN, infinity and what is no number give a reason."""
    if value is None:
        return Score(None, "no reward given")
    if hasattr(value, "item"):  # a number of numpy or torch
        try:
            value = value.item()
        except (RuntimeError, ValueError):
            return Score(None, "more than one number for a text", failed=True)
    if not isinstance(value, bool | int | float):
        return Score(None, f"{str(value)[:60]!r} is no number", failed=True)
    if not math.isfinite(value):
        return Score(None, f"the reward is {value}", failed=True)
    return Score(scaled(float(value), scale))


def check_scale(scale: str) -> str:
    """``scale``, if there is such a rule.

    Raises:
        RewardError: There is none.
    """
    if scale in ("given", "sigmoid"):
        return scale
    low, high = _bounds(scale)
    if low == high:
        raise RewardError(
            f"scale={scale} has two equal ends; write the lowest and the highest number, as in scale=-1,1"
        )
    return scale


def _bounds(scale: str) -> tuple[float, float]:
    parts = scale.split(",")
    try:
        low, high = (float(part) for part in parts)
        if not (math.isfinite(low) and math.isfinite(high)):
            raise ValueError
    except ValueError:
        raise RewardError(
            f"scale={scale} is no rule; it may be given, sigmoid, or two numbers such as scale=-1,1"
        ) from None
    return low, high


def scaled(value: float, scale: str) -> float:
    """``value`` under the rule ``scale``."""
    if scale == "given":
        return value
    if scale == "sigmoid":
        return 1 / (1 + math.exp(-value)) if value >= 0 else math.exp(value) / (1 + math.exp(value))
    low, high = _bounds(scale)
    return min(1.0, max(0.0, (value - low) / (high - low)))


def within_unit(value: float, name: str) -> float:
    """``value``, which must lie in [0, 1].

    Raises:
        RewardError: It does not.
    """
    if not -ROUNDING <= value <= 1 + ROUNDING:
        raise RewardError(
            f"{name} gave {value:g}; values of a search and rewards of training lie in [0, 1]: add a rule to the spec, "
            "as ?scale=sigmoid, or the lowest and highest number, as ?scale=-1,1"
        )
    return min(1.0, max(0.0, value))
