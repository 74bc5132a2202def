"""Several rewards as one: the weighted mean."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from colasearch.errors import RewardError
from colasearch.verifiers.rewards.base import Item, RewardSource, Score, within_unit


@dataclass(frozen=True, slots=True)
class Mixed:
    """What several rewards say of one text.

    Attributes:
        score: Their weighted mean; none where one of them says nothing, with the reason.
        parts: Each one's own number, in the order of the specs.
    """

    score: Score
    parts: tuple[float | None, ...]


class Mix:
    """The weighted mean of rewards; weights are divided by their sum.

    Args:
        parts: Rewards and weights.
        unit: Whether every number must lie in [0, 1], as searches and training want.

    Raises:
        RewardError: There is no part.
    """

    def __init__(self, parts: Sequence[tuple[RewardSource, float]], *, unit: bool = False) -> None:
        if not parts:
            raise RewardError("no reward is given; give at least one spec")
        total = sum(weight for _, weight in parts)
        self.parts, self.unit = [(source, weight / total) for source, weight in parts], unit
        self.names = [source.name for source, _ in self.parts]
        self.name = " + ".join(self.names)

    def score(self, problems: Sequence[Item], texts: Sequence[str]) -> list[Score]:
        """The mean for each text."""
        return [mixed.score for mixed in self.mixed(problems, texts)]

    def mixed(self, problems: Sequence[Item], texts: Sequence[str]) -> list[Mixed]:
        """The mean for each text, and what it is made of. Each reward sees the whole batch at once."""
        if not texts:
            return []
        columns = [source.score(problems, texts) for source, _ in self.parts]
        return [self._combine(scores) for scores in zip(*columns, strict=True)]

    def _combine(self, scores: tuple[Score, ...]) -> Mixed:
        total, missing = 0.0, None
        for score, (source, weight) in zip(scores, self.parts, strict=True):
            if score.value is None:
                reason = score.reason if len(self.parts) == 1 else f"{source.name}: {score.reason}"
                missing = missing or Score(None, reason, score.failed)
                continue
            total += weight * (within_unit(score.value, source.name) if self.unit else score.value)
        return Mixed(missing or Score(total), tuple(score.value for score in scores))
