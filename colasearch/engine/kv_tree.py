"""Keys and values of tree nodes, and the batch buffer that a decoding run works in.

A node owns the keys and values of its own tokens only (a ``Segment``). To decode below some nodes, each node's path is
copied once into a left-padded batch buffer; new columns are written in place; the columns that belong to the new node
are copied out at the end. Codes never enter the cache: they act after the last layer.

The base's layers come first, the policy's blocks after them. All have the same key/value shape here, because the
latent modules take the base's attention shape.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor
from transformers.cache_utils import Cache, CacheLayerMixin

from colasearch.errors import PrerequisiteError
from colasearch.model.latent_lm import LatentLM

Segment = Tensor
"""Keys and values of consecutive tokens: ``[layers, 2, kv_heads, T, head_dim]``."""


@dataclass(frozen=True, slots=True)
class KVShape:
    """Key/value shape of a model: base layers, policy layers, heads, head size."""

    base_layers: int
    policy_layers: int
    heads: int
    head_dim: int

    @classmethod
    def of(cls, lm: LatentLM) -> KVShape:
        """The shape for ``lm``.

        Raises:
            PrerequisiteError: The base's cache is no standard attention cache, or the latent modules have another
                key/value shape than the base.
        """
        config = lm.base.model.config
        kinds = set(getattr(config, "layer_types", None) or ["full_attention"])
        layers = getattr(config, "num_hidden_layers", None)
        heads = getattr(config, "num_key_value_heads", None) or getattr(config, "num_attention_heads", None)
        if kinds != {"full_attention"} or not layers or not heads:
            raise PrerequisiteError(
                f"{type(lm.base.model).__name__} has layers of kinds {sorted(kinds)}; the search needs a base whose "
                "layers all keep a full attention cache (Llama, Qwen2, Mistral without sliding windows, ...)"
            )
        head_dim = int(getattr(config, "head_dim", None) or config.hidden_size // config.num_attention_heads)
        policy_layers = 0
        if lm.latents is not None:
            latent = lm.latents.config
            policy_layers = latent.policy_layers
            if (latent.num_kv_heads, latent.head_dim) != (int(heads), head_dim):
                raise PrerequisiteError(
                    f"the policy has {latent.num_kv_heads} key/value heads of {latent.head_dim}, the base {heads} of "
                    f"{head_dim}; train the latent modules with the base's own attention shape"
                )
        return cls(int(layers), policy_layers, int(heads), head_dim)

    @property
    def layers(self) -> int:
        """Base and policy layers together."""
        return self.base_layers + self.policy_layers


class _BufferLayer(CacheLayerMixin):  # type: ignore[misc]
    """One layer of a ``BatchKV`` as transformers wants to see it; also serves as a policy block's cache."""

    def __init__(self, owner: BatchKV, index: int) -> None:
        super().__init__()
        self.owner, self.index = owner, index
        self.is_initialized = True

    def lazy_initialization(self, key_states: Tensor, value_states: Tensor) -> None:
        return None

    def update(self, key_states: Tensor, value_states: Tensor, *args: Any, **kwargs: Any) -> tuple[Tensor, Tensor]:
        begin, end, rows = self.owner.length, self.owner.length + key_states.shape[-2], self.owner.rows
        keys, values = self.owner.data[self.index, 0, :rows], self.owner.data[self.index, 1, :rows]
        keys[:, :, begin:end] = key_states
        values[:, :, begin:end] = value_states
        return keys[:, :, :end], values[:, :, :end]

    def get_mask_sizes(self, query_length: int) -> tuple[int, int]:
        return self.owner.length + query_length, 0

    def get_seq_length(self) -> int:
        return self.owner.length

    def get_max_length(self) -> int:
        return int(self.owner.data.shape[4])


class BatchKV:
    """A preallocated left-padded batch of keys and values.

    Attributes:
        data: ``[layers, 2, B, heads, capacity, head_dim]``.
        rows: Rows in use, the first ones.
        length: Columns in use; the same for all rows.
        padding_B: Columns at the left of each row that hold nothing.
    """

    def __init__(self, shape: KVShape, rows: int, capacity: int, dtype: torch.dtype, device: torch.device) -> None:
        self.shape = shape
        self.data = torch.zeros(
            (shape.layers, 2, rows, shape.heads, capacity, shape.head_dim), dtype=dtype, device=device
        )
        self.rows, self.length = rows, 0
        self.padding_B = torch.zeros(rows, dtype=torch.long, device=device)
        layers = [_BufferLayer(self, i) for i in range(shape.layers)]
        self.base_cache = Cache(layers=layers[: shape.base_layers])
        self.policy_caches = layers[shape.base_layers :]

    @classmethod
    def from_paths(
        cls, shape: KVShape, paths: Sequence[Sequence[Segment]], room: int, dtype: torch.dtype, device: torch.device
    ) -> BatchKV:
        """A buffer whose row b holds the segments ``paths[b]`` end to end, with ``room`` free columns after them."""
        lengths = [sum(segment.shape[3] for segment in path) for path in paths]
        longest = max(lengths)
        buffer = cls(shape, len(paths), longest + room, dtype, device)
        for row, (path, length) in enumerate(zip(paths, lengths, strict=True)):
            column = longest - length
            for segment in path:
                buffer.data[:, :, row, :, column : column + segment.shape[3]] = segment
                column += segment.shape[3]
        buffer.length = longest
        buffer.padding_B = torch.tensor([longest - n for n in lengths], device=device)
        return buffer

    def mask(self, new: int) -> Tensor:
        """``[B, length + new]``, 1 where a column holds a token."""
        columns = torch.arange(self.length + new, device=self.padding_B.device)
        return (columns[None] >= self.padding_B[:, None]).long()

    def positions(self, new: int) -> Tensor:
        """Token positions ``[B, new]`` of the next ``new`` columns."""
        columns = torch.arange(self.length, self.length + new, device=self.padding_B.device)
        return (columns[None] - self.padding_B[:, None]).clamp_min(0)

    def columns(self, row: int, begin: int, end: int) -> Segment:
        """A copy of row ``row``'s columns ``begin`` to ``end``."""
        return self.data[:, :, row, :, begin:end].clone()

    def drop(self, row: int) -> int:
        """Take row ``row`` out of use. The last row moves into its place; returns where that one was."""
        last = self.rows - 1
        if row != last:
            self.data[:, :, row, :, : self.length] = self.data[:, :, last, :, : self.length]
            self.padding_B[row] = self.padding_B[last]
        self.rows = last
        self.padding_B = self.padding_B[:last]
        return last
