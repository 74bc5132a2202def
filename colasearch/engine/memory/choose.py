"""Which way of holding keys and values, and of attending to them, is in use; the only place that knows."""

from __future__ import annotations

from collections.abc import Sequence

import torch

from colasearch.engine.memory.interfaces import AttendedRows, NodeMemory, PromptAttention
from colasearch.engine.memory.panels import RowBatch
from colasearch.engine.memory.prompts import PromptBatch
from colasearch.engine.memory.shape import KVShape
from colasearch.engine.memory.store import KVStore


def node_memory(budget: int | None) -> NodeMemory:
    """An empty memory for tree nodes, of at most ``budget`` bytes."""
    return KVStore(budget)


def row_memory(shape: KVShape, dtype: torch.dtype, device: torch.device) -> AttendedRows:
    """An empty batch of rows."""
    return RowBatch(shape, dtype, device)


def prompt_attention(shape: KVShape, lengths: Sequence[int]) -> PromptAttention:
    """Attention for encoding prompts of these lengths side by side."""
    return PromptBatch(shape, lengths)
