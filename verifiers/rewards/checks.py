"""A verifier as a reward: ``verifier:NAME``."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from colasearch.errors import RewardError
from colasearch.problem import LabelledProblem
from colasearch.verifiers.registry import get_verifier
from colasearch.verifiers.rewards.base import Item, Score, checked, plain


class VerifierReward:
    """What a verifier says of whole texts. One that needs gold answers serves training and ``verify``, no search."""

    def __init__(self, text: str, name: str) -> None:
        self.name, self.verifier = text, get_verifier(name)

    def score(self, problems: Sequence[Item], texts: Sequence[str]) -> list[Score]:
        """One score a text; see ``RewardSource``."""
        items: list[tuple[Any, str]] = []
        for item, text in zip(problems, texts, strict=True):
            if not self.verifier.checkable and not (isinstance(item, LabelledProblem) and item.gold):
                raise RewardError(
                    f"{self.name} needs gold answers, which a search does not see and problem {plain(item).id!r} does "
                    "not bring; use a checkable verifier, or another reward"
                )
            items.append((plain(item) if self.verifier.checkable else item, text))
        verdicts = self.verifier.score_batch(items)
        return [Score(None, v.reason) if v.reward is None else checked(v.reward) for v in verdicts]
