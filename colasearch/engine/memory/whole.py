"""Rows without kept keys and values: each step encodes each row's whole text again.

The slow way that serves any causal LM, whatever its cache looks like. One row a forward pass, so that no padding and no
batch-mate can change a result.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor


@dataclass(slots=True, eq=False)
class WholePlace:
    """A row: what its owner knows it by, and its tokens so far."""

    item: Any
    tokens: list[int] = field(default_factory=list)

    @property
    def length(self) -> int:
        """Tokens so far."""
        return len(self.tokens)


class WholeBatch:
    """A ``RowMemory`` that no attention reads; its segments hold token numbers in place of keys and values."""

    def __init__(self) -> None:
        self._places: list[WholePlace] = []

    def places(self) -> Iterator[WholePlace]:
        """All rows in the order in which tokens are fed and features come back."""
        return iter(self._places)

    def enter(self, item: Any, path: Sequence[Tensor]) -> WholePlace:
        """Add a row that continues the segments of ``path``."""
        place = WholePlace(item, [int(t) for segment in path for t in segment.reshape(-1)])
        self._places.append(place)
        return place

    def leave(self, place: Any, *, poisoned: bool = False) -> None:
        """Take a row out."""
        self._places.remove(place)

    def make_room(self) -> None:
        """Nothing to do."""

    def extend(self, tokens: Sequence[int]) -> list[list[int]]:
        """Append one token to each row; returns all rows' tokens."""
        for place, token in zip(self._places, tokens, strict=True):
            place.tokens.append(token)
        return [place.tokens for place in self._places]

    def columns(self, place: Any, begin: int, end: int) -> Tensor:
        """A segment of a row's tokens ``begin`` to ``end``."""
        return self.segment(place.tokens[begin:end])

    @staticmethod
    def segment(tokens: Sequence[int]) -> Tensor:
        """Tokens in the shape of a segment, ``[1, 1, 1, T, 1]``."""
        return torch.tensor(list(tokens), dtype=torch.long).view(1, 1, 1, -1, 1)
