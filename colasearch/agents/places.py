"""States of episodes as the model sees them: what it knows after the chunks so far, computed once and kept."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Hashable, Sequence
from dataclasses import dataclass

import torch

from colasearch.agents.layout import Chunk
from colasearch.engine.forward.actor import Actor
from colasearch.engine.forward.features import Features
from colasearch.engine.memory.shape import Segment

Key = tuple[Hashable, ...]


@dataclass(frozen=True, slots=True)
class Place:
    """A state of an episode.

    Attributes:
        key: Fixes all that is drawn there: the episode, and the actions so far.
        tokens: Of the text so far.
        path: Keys and values of it.
        features: What the model knows at its end; one row.
    """

    key: Key
    tokens: Chunk
    path: list[Segment]
    features: Features


@dataclass(slots=True)
class _Kept:
    segment: Segment
    features: Features


class Places:
    """Makes places, and keeps keys and values of chunks within a budget of bytes.

    Each chunk is encoded behind those before it, in a pass with the chunks of other episodes, so what comes out depends
    on the episode's own chunks alone, whatever was kept.
    """

    def __init__(self, actor: Actor, budget: int | None) -> None:
        self.actor, self.budget = actor, budget
        self.used = 0
        self._kept: OrderedDict[tuple[Chunk, ...], _Kept] = OrderedDict()

    def of(self, keys: Sequence[Key], texts: Sequence[tuple[Chunk, ...]]) -> list[Place]:
        """The places behind texts of chunks, in order."""
        if not self.actor.can_continue:
            return self._whole(keys, texts)
        found: dict[tuple[Chunk, ...], _Kept] = {}
        for size in range(1, max(map(len, texts), default=0) + 1):
            self._level({text[:size]: None for text in texts if len(text) >= size}, found)
        places = []
        for key, text in zip(keys, texts, strict=True):
            parts = [found[text[:size]] for size in range(1, len(text) + 1)]
            tokens = tuple(token for chunk in text for token in chunk)
            # As one: rows that begin there then share it, where several parts would be copied for each.
            whole = torch.cat([part.segment for part in parts], dim=3) if len(parts) > 1 else parts[0].segment
            places.append(Place(key, tokens, [whole], parts[-1].features))
        self._evict()
        return places

    def _level(self, heads: dict[tuple[Chunk, ...], None], found: dict[tuple[Chunk, ...], _Kept]) -> None:
        """Take or compute the last chunk of each head; those of all shorter ones are found already."""
        missing = []
        for head in heads:
            kept = self._kept.get(head)
            if kept is None:
                missing.append(head)
            else:
                self._kept.move_to_end(head)
                found[head] = kept
        if not missing:
            return
        before = [[found[head[:size]].segment for size in range(1, len(head))] for head in missing]
        features, segments = self.actor.continue_texts([head[-1] for head in missing], before)
        for number, (head, segment) in enumerate(zip(missing, segments, strict=True)):
            kept = _Kept(segment, features.rows(slice(number, number + 1)))
            found[head] = self._kept[head] = kept
            self.used += segment.nbytes

    def _evict(self) -> None:
        while self.budget is not None and self.used > self.budget and self._kept:
            _, gone = self._kept.popitem(last=False)
            self.used -= gone.segment.nbytes

    def _whole(self, keys: Sequence[Key], texts: Sequence[tuple[Chunk, ...]]) -> list[Place]:
        rows = [tuple(token for chunk in text for token in chunk) for text in texts]
        if not rows:
            return []
        features, segments = self.actor.prefill(rows)
        return [
            Place(key, tokens, [segment], features.rows(slice(i, i + 1)))
            for i, (key, tokens, segment) in enumerate(zip(keys, rows, segments, strict=True))
        ]
