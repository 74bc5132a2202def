"""Whole prompts, encoded side by side."""

from __future__ import annotations

from collections.abc import Sequence

import torch
import torch.nn.functional as F
from torch import Tensor

from colasearch.engine.memory.shape import KVShape, Segment


class PromptBatch:
    """Whole prompts side by side as one sequence, each attending to itself alone and to what stands before it.

    Attributes:
        lengths: Tokens of each prompt.
        before: Segments of what stands before each prompt; none before one that begins a text.
    """

    def __init__(
        self, shape: KVShape, lengths: Sequence[int], before: Sequence[Sequence[Segment]] | None = None
    ) -> None:
        self.shape, self.lengths = shape, list(lengths)
        self.before = [list(path) for path in before] if before is not None else [[] for _ in self.lengths]
        self._layers: dict[int, tuple[Tensor, Tensor]] = {}

    def positions(self, device: torch.device) -> Tensor:
        """``[total tokens]`` position of each token in its own text."""
        begins = [sum(segment.shape[3] for segment in path) for path in self.before]
        return torch.cat([torch.arange(b, b + n, device=device) for b, n in zip(begins, self.lengths, strict=True)])

    def __call__(self, layer: int, query: Tensor, key: Tensor, value: Tensor, scaling: float | None = None) -> Tensor:
        """Causal attention within each prompt; shapes as in ``model.blocks.Attention`` with B = 1."""
        self._layers[layer] = (key[0], value[0])
        grouped = query.shape[1] != key.shape[1]
        out, begin = [], 0
        for length, path in zip(self.lengths, self.before, strict=True):
            cut = slice(begin, begin + length)
            keys, values, mask = key[:, :, cut], value[:, :, cut], None
            if path:
                keys = torch.cat([*(segment[layer, 0][None] for segment in path), keys], dim=2)
                values = torch.cat([*(segment[layer, 1][None] for segment in path), values], dim=2)
                past = keys.shape[2] - length
                mask = torch.ones(length, past + length, dtype=torch.bool, device=keys.device).tril(past)
            out.append(
                F.scaled_dot_product_attention(
                    query[:, :, cut], keys, values,
                    attn_mask=mask, is_causal=mask is None and length > 1, scale=scaling, enable_gqa=grouped,
                )
            )  # fmt: skip
            begin += length
        return torch.cat(out, dim=2).transpose(1, 2)

    def segments(self) -> list[Segment]:
        """Keys and values of each prompt."""
        whole = torch.stack([torch.stack(self._layers[i]) for i in range(len(self._layers))])
        return [part.contiguous() for part in torch.split(whole, self.lengths, dim=3)]
