"""What states and texts of trees are worth, as the model's heads say or the rewards that were asked for."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from colasearch.engine.decoding.row import Row
from colasearch.engine.forward.actor import Actor
from colasearch.engine.forward.features import Features
from colasearch.engine.forward.heads import StateHeads
from colasearch.engine.forward.leaves import LeafNumbers, leaf_numbers
from colasearch.engine.settings import WorldConfig
from colasearch.engine.texts.ends import TextEnds
from colasearch.engine.texts.judged import values_of
from colasearch.model.latent_lm import LatentLM
from colasearch.problem import Problem


class TreeValues:
    """Values of the states and the finished texts of trees.

    Attributes:
        heads: The model's value and Q heads, as far as they are used.
        rewarded: Whether rewards from outside (``--values SPEC``) say what texts are worth.
        rewarded_leaves: Whether they also say it of texts that go on.
    """

    def __init__(self, lm: LatentLM, config: WorldConfig, actor: Actor, ends: TextEnds) -> None:
        self._rewards = values_of(config.values) if config.values else None
        self.actor, self.ends = actor, ends
        self.heads = StateHeads.of(lm, config, actor.latent)
        self.rewarded = self._rewards is not None
        self.rewarded_leaves = self.rewarded and config.rollouts

    def ask(
        self, features: Features | None, uniforms_BA: np.ndarray, ended: Sequence[Row]
    ) -> tuple[LeafNumbers, dict[Row, float]]:
        """What the model says of open nodes, and its heads of texts that have ended: one look at the device."""
        judged = [row for row in ended if row.last is not None]
        lasts = [row.last for row in judged if row.last is not None]
        said = leaf_numbers(self.actor, self.heads, features, uniforms_BA, lasts)
        return said, dict(zip(judged, said.end_N.tolist(), strict=False))

    def of_texts(self, problems: Sequence[Problem], texts: Sequence[tuple[int, ...]]) -> list[float]:
        """What the rewards say of texts, as tokens, that go on or have ended; all are asked for together."""
        assert self._rewards is not None
        return self._rewards(problems, [self.ends.decode(tokens) for tokens in texts])

    def of_rows(self, problems: Sequence[Problem], rows: Sequence[Row]) -> dict[Row, float]:
        """What the rewards say of finished texts; empty where there are no rewards."""
        if not self.rewarded or not rows:
            return {}
        texts = [(*row.before, *row.tokens) for row in rows]
        return dict(zip(rows, self.of_texts(problems, texts), strict=True))
