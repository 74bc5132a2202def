"""Rewards by a spec as the terminal reward of RL, in place of the task's verifier."""

from __future__ import annotations

import warnings
from collections import defaultdict
from collections.abc import Sequence

from colasearch.errors import InputError
from colasearch.problem import LabelledProblem
from colasearch.rewards import reward_of
from colasearch.verifiers import get_verifier


class SpecReward:
    """Terminal reward in [0, 1] of a text: (1 - w) * the weighted mean of rewards + w * well-formed.

    A text without a reward (the function said None or raised, a server refused it) gets the mean of the same problem's
    other texts in the batch, so that within a group it teaches nothing; 0 where there is no other.

    Args:
        specs: As on the command line; see ``colasearch.rewards``.
        format_weight: w.
        style: Form asked for; see ``verifiers.format``.

    Attributes:
        parts: Of the last call, what each reward said of each text, by its spec (of one reward alone: none), and
            ``missing``, 1 where a text had no reward.

    Raises:
        InputError: A spec or the weight cannot be used.
        PrerequisiteError: A model cannot be loaded.
    """

    def __init__(self, specs: Sequence[str], format_weight: float = 0.0, style: str = "boxed") -> None:
        if not 0 <= format_weight <= 1:
            raise InputError(f"the weight of the format reward is {format_weight}; it must be between 0 and 1")
        self.mix, self.format_weight = reward_of(specs, unit=True), format_weight
        self.form = get_verifier("format", style=style)
        self.parts: list[dict[str, float]] = []
        self._told = False

    def __call__(self, items: Sequence[tuple[LabelledProblem, str]]) -> list[float]:
        """Rewards of texts.

        Raises:
            InputError: A reward is outside [0, 1].
            PrerequisiteError: A server is down.
        """
        problems, texts = [item for item, _ in items], [text for _, text in items]
        mixed = self.mix.mixed(problems, texts)
        known: defaultdict[str, list[float]] = defaultdict(list)
        for problem, one in zip(problems, mixed, strict=True):
            if one.score.value is not None:
                known[problem.problem.id].append(one.score.value)
            elif not self._told:
                self._told = True
                warnings.warn(f"--reward: a text got no reward ({one.score.reason})", UserWarning, stacklevel=2)
        self.parts = [
            {
                **{name: value for name, value in zip(self.mix.names, one.parts, strict=True) if value is not None},
                "missing": float(one.score.value is None),
            }
            if len(self.mix.names) > 1
            else {"missing": float(one.score.value is None)}
            for one in mixed
        ]
        rewards = [_mean(known[p.problem.id]) if one.score.value is None else one.score.value
                   for p, one in zip(problems, mixed, strict=True)]  # fmt: skip
        if not self.format_weight:
            return rewards
        forms = self.form.score_batch([(item.problem, text) for item, text in items])
        w = self.format_weight
        return [(1 - w) * reward + w * (form.reward or 0.0) for reward, form in zip(rewards, forms, strict=True)]


def _mean(values: Sequence[float]) -> float:
    return sum(values) / len(values) if values else 0.0
