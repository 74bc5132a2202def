"""Whole prompts, encoded side by side."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import numpy as np
import torch
from torch import Tensor

from colasearch.engine.memory.interfaces import PLAIN, Passage, Scoring
from colasearch.engine.memory.products import causal
from colasearch.engine.memory.shape import KVShape, Segment


class PromptBatch:
    """Whole prompts side by side as one sequence, each attending to itself alone.

    Attributes:
        lengths: Tokens of each prompt.
        computed: Their sum.
        before: Segments of what stands before each prompt; none before one that begins a text.
    """

    def __init__(
        self,
        shape: KVShape,
        prompts: Sequence[Sequence[int]],
        device: torch.device,
        before: Sequence[Sequence[Segment]] | None = None,
    ) -> None:
        self.shape, self.prompts, self.device = shape, prompts, device
        self.before = [list(path) for path in before] if before is not None else [[] for _ in prompts]
        self.lengths = [len(prompt) for prompt in prompts]
        self.computed = sum(self.lengths)
        self._layers: dict[int, tuple[Tensor, Tensor]] = {}

    def passages(self) -> Iterator[Passage]:
        """All prompts at once."""
        begins = [sum(segment.shape[3] for segment in path) for path in self.before]
        ends = (int(end) - 1 for end in np.cumsum(self.lengths))
        yield Passage(
            [token for prompt in self.prompts for token in prompt],
            torch.cat([torch.arange(b, b + n, device=self.device) for b, n in zip(begins, self.lengths, strict=True)]),
            list(enumerate(ends)),
        )

    def __call__(self, layer: int, query: Tensor, key: Tensor, value: Tensor, scoring: Scoring = PLAIN) -> Tensor:
        """Causal attention within each prompt and to what is before; shapes as in ``model.blocks.Attention``, B = 1."""
        self._layers[layer] = (key[0], value[0])
        out, begin = [], 0
        for length, path in zip(self.lengths, self.before, strict=True):
            cut = slice(begin, begin + length)
            keys, values = key[:, :, cut], value[:, :, cut]
            if path:
                keys = torch.cat([*(segment[layer, 0][None] for segment in path), keys], dim=2)
                values = torch.cat([*(segment[layer, 1][None] for segment in path), values], dim=2)
            out.append(causal(query[:, :, cut], keys, values, scoring.within(keys.shape[2])))
            begin += length
        return torch.cat(out, dim=2).transpose(1, 2)

    def segments(self) -> list[Segment]:
        """Keys and values of each prompt."""
        whole = torch.stack([torch.stack(self._layers[i]) for i in range(len(self._layers))])
        return [part.contiguous() for part in torch.split(whole, self.lengths, dim=3)]
