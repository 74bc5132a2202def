"""Values of texts from rewards outside the search (``--values SPEC``): of a leaf's text so far, and of whole texts."""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from functools import lru_cache

from colasearch.problem import Problem
from colasearch.rewards import reward_of
from colasearch.verifiers.rewards import Mix


class TextValues:
    """Asks rewards for the values of texts.

    Attributes:
        mix: The rewards, each in [0, 1].
        missing: Texts that got no value so far; each counted 0.
    """

    def __init__(self, mix: Mix) -> None:
        self.mix, self.missing = mix, 0

    def __call__(self, problems: Sequence[Problem], texts: Sequence[str]) -> list[float]:
        """A value in [0, 1] for each text; 0 for one without, of which the first of a process is told of.

        Raises:
            InputError: A reward is outside [0, 1].
            PrerequisiteError: A server is down.
        """
        scores = self.mix.score(problems, texts)
        failed = [score for score in scores if score.value is None]
        if failed and not self.missing:
            warnings.warn(
                f"--values: a text got no value ({failed[0].reason}); such texts count 0", UserWarning, stacklevel=2
            )
        self.missing += len(failed)
        return [0.0 if score.value is None else score.value for score in scores]


@lru_cache(maxsize=4)
def values_of(specs: tuple[str, ...]) -> TextValues:
    """The values of ``specs``; loaded once a process, for a reward model is big and each arm of a benchmark wants it.

    Raises:
        InputError: A spec cannot be read, or names nothing.
        PrerequisiteError: A model cannot be loaded.
    """
    return TextValues(reward_of(specs, unit=True))
