"""What the model believes an action leads to: it writes the next observation itself.

The base's own most probable tokens, since observations never carry codes. Nobody gives rewards there, and nothing ends
an episode; what a state is worth, the value head has to say.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from colasearch.agents.episode import Episode
from colasearch.agents.layout import Layout
from colasearch.agents.places import Places
from colasearch.agents.transitions import State
from colasearch.agents.world import Edge
from colasearch.engine.decoding.decoder import decode
from colasearch.engine.decoding.row import Row, Rules
from colasearch.engine.forward.actor import Actor
from colasearch.engine.settings import Sampling, WorldConfig
from colasearch.engine.texts.ends import TextEnds
from colasearch.engine.texts.writing import Writing
from colasearch.environments import Outcome
from colasearch.errors import ColasearchError, InputError
from colasearch.model.latent_lm import LatentLM

OBSERVATION_TOKENS = 96
"""Longest observation that the model writes."""


class Imagination:
    """Dynamics of the model alone, for a batch of episodes.

    Attributes:
        tokens: Written so far, by episode.
    """

    def __init__(
        self, lm: LatentLM, layout: Layout, config: WorldConfig, ends: TextEnds, episodes: Sequence[Episode]
    ) -> None:
        self.layout, self.ends, self.episodes, self.config = layout, ends, episodes, config
        self.actor = Actor(lm, Sampling(top_k=1, token_top_k=1), latent=False, engine=config.engine)
        self.tokens = [0] * len(episodes)
        self._places = Places(self.actor, config.kv_bytes)

    def after(self, edges: Sequence[Edge]) -> list[State | ColasearchError]:
        """The state that the model believes to be behind each edge."""
        texts, fits = [], []
        found: list[State | ColasearchError] = []
        for number, edge in enumerate(edges):
            try:
                chunks = self.layout.chunks(self.episodes[edge.tree].first, edge.turns)
            except InputError as error:
                found.append(error)
                continue
            found.append(InputError("not written yet"))
            fits.append(number)
            texts.append((*chunks, self.layout.asked(edge.action)))
        keys = [(self.episodes[edges[n].tree].start.id, "imagined") for n in fits]
        places = self._places.of(keys, texts) if texts else []
        tokens = [int(self.actor.greedy_tokens(place.features)[0]) for place in places]
        rows = [
            Row(place.path, token, np.zeros(OBSERVATION_TOKENS - 1), number)
            for number, (place, token) in enumerate(zip(places, tokens, strict=True))
        ]
        rules = Rules(lambda token: False, self._is_over, OBSERVATION_TOKENS + 1, True, record=self.ends.writing)
        decode(self.actor, rows, rules, self.actor.rows_for(self.config))
        for number, row in zip(fits, rows, strict=True):
            edge = edges[number]
            self.tokens[edge.tree] += len(row.tokens)
            history = (*(turn.action for turn in edge.turns), edge.action)
            found[number] = State(history, Outcome(self._seen(row.tokens), 0.0, False))
        return found

    def _is_over(self, tokens: Sequence[int]) -> bool:
        if self.ends.is_ended(tokens):
            return True
        text = tokens.text if isinstance(tokens, Writing) else self.ends.decode(tokens)
        return self.layout.frame.behind_next.rstrip(" ") in text if self.layout.frame.lead else "\n\n" in text

    def _seen(self, tokens: Sequence[int]) -> str:
        text = self.ends.decode(tokens)
        return text.partition(self.layout.frame.behind_next)[0].strip() if self.layout.frame.lead else text.strip()
