"""Which way of holding keys and values, and of attending to them, is in use; the only place that knows."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

import torch

from colasearch.engine.memory.interfaces import AttendedRows, NodeMemory, PieceAttention, PromptAttention
from colasearch.engine.memory.paged import Paged
from colasearch.engine.memory.panels import RowBatch
from colasearch.engine.memory.prompts import PromptBatch
from colasearch.engine.memory.shape import KVShape, Segment
from colasearch.engine.memory.store import KVStore


class Memories(Protocol):
    """One way: memories for nodes, rows and prompts that understand each other's segments."""

    @property
    def cuts_prompts(self) -> bool:
        """Whether prompts may be given all at once, however long: they are encoded in pieces."""

    def nodes(self, budget: int | None) -> NodeMemory:
        """An empty memory for tree nodes, of at most ``budget`` bytes."""

    def rows(self) -> AttendedRows:
        """An empty batch of rows."""

    def prompts(self, prompts: Sequence[Sequence[int]]) -> PromptAttention:
        """Attention for encoding prompts side by side."""

    def after(self, path: Sequence[Segment], tokens: Sequence[int]) -> PieceAttention | None:
        """Attention for encoding more of a text; None where it goes on a token at a time."""


@dataclass(frozen=True, slots=True)
class Panels:
    """Rows in panels, nodes as tensors of their own: the fastest way on a CPU."""

    shape: KVShape
    dtype: torch.dtype
    device: torch.device
    cuts_prompts: bool = False

    def nodes(self, budget: int | None) -> NodeMemory:
        """An empty memory for tree nodes, of at most ``budget`` bytes."""
        return KVStore(budget)

    def rows(self) -> AttendedRows:
        """An empty batch of rows."""
        return RowBatch(self.shape, self.dtype, self.device)

    def prompts(self, prompts: Sequence[Sequence[int]]) -> PromptAttention:
        """Attention for encoding prompts side by side."""
        return PromptBatch(self.shape, prompts, self.device)

    def after(self, path: Sequence[Segment], tokens: Sequence[int]) -> None:
        """Texts go on a token at a time."""

    def continued(self, parts: Sequence[Sequence[int]], before: Sequence[Sequence[Segment]]) -> PromptAttention:
        """Attention for encoding parts of texts side by side, each behind segments of what stands before it."""
        return PromptBatch(self.shape, parts, self.device, before)


def memories(engine: str, shape: KVShape, dtype: torch.dtype, device: torch.device) -> Memories:
    """The way for ``engine``: pages if it is ``paged``, else panels."""
    return Paged(shape, dtype, device) if engine == "paged" else Panels(shape, dtype, device)


def segment_store(budget: int | None) -> NodeMemory:
    """A memory for segments that are tensors of any kind."""
    return KVStore(budget)
