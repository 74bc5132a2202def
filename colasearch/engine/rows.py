"""Attention over rows of different lengths that are decoded together, each with its own keys and values.

Rows stand in *panels*: a panel holds the rows whose length falls into one class of 64 columns, and grows no wider
than that class. A row that outgrows its panel moves to the next. So

- a row's attention is computed at a shape that follows from its own length alone: with another shape MKL sums in
  another order, and a search would depend on its batch-mates;
- less than 64 columns of a row are padding;
- linear layers see the rows side by side as one long sequence, without any padding.

transformers calls the function registered here in place of its own attention.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor
from transformers import AttentionInterface

from colasearch.engine.kv_tree import KVShape, Segment
from colasearch.errors import PrerequisiteError

ATTENTION_NAME = "colasearch_rows"
COLUMNS = 64
"""Width of a class of lengths."""

SLOTS = 4
"""Rows that a new panel has room for; it doubles when it is full."""


def rows_attention(
    module: Any, query: Tensor, key: Tensor, value: Tensor, attention_mask: Tensor | None, **kwargs: Any
) -> tuple[Tensor, None]:
    """Attention as transformers calls it; ``kwargs["rows"]`` is whoever keeps the keys and values."""
    for name in ("softcap", "s_aux", "sliding_window"):
        if kwargs.get(name) is not None:
            raise PrerequisiteError(f"{type(module).__name__} attends with {name}, which the key/value tree lacks")
    owner: RowBatch | PromptBatch = kwargs["rows"]
    return owner(int(module.layer_idx), query, key, value, kwargs.get("scaling")), None


AttentionInterface.register(ATTENTION_NAME, rows_attention)


class Panel:
    """Rows of one class of lengths.

    Attributes:
        columns: Width.
        data: ``[layers, 2, slots, heads, columns, head_dim]``; unused places hold finite numbers.
        places: The rows in use, in the first slots.
    """

    def __init__(self, shape: KVShape, columns: int, dtype: torch.dtype, device: torch.device) -> None:
        self.shape, self.columns = shape, columns
        self.data = self._room(SLOTS, dtype, device)
        self.places: list[Place] = []

    def _room(self, slots: int, dtype: torch.dtype, device: torch.device) -> Tensor:
        # Zeros, not garbage: a masked column has weight 0, but 0 times NaN is NaN.
        shape = (self.shape.layers, 2, slots, self.shape.heads, self.columns, self.shape.head_dim)
        return torch.zeros(shape, dtype=dtype, device=device)

    def add(self, place: Place) -> None:
        """Give ``place`` a slot here."""
        slots = self.data.shape[2]
        if len(self.places) == slots:
            wider = self._room(2 * slots, self.data.dtype, self.data.device)
            wider[:, :, :slots] = self.data
            self.data = wider
        place.panel, place.slot = self, len(self.places)
        self.places.append(place)

    def remove(self, slot: int, *, poisoned: bool = False) -> None:
        """Free a slot; the last row moves into it. What a poisoned row held is overwritten."""
        last = self.places.pop()
        free = len(self.places)
        if slot != free:
            if poisoned:
                self.data[:, :, slot].zero_()
            self.data[:, :, slot, :, : last.length] = self.data[:, :, free, :, : last.length]
            self.places[slot], last.slot = last, slot
        elif poisoned:
            self.data[:, :, free].zero_()


@dataclass(slots=True, eq=False)
class Place:
    """Where a row's keys and values are.

    Attributes:
        item: What the owner of the batch knows the row by.
        length: Tokens held.
    """

    item: Any
    length: int = 0
    panel: Panel = field(init=False, repr=False)
    slot: int = field(init=False, default=0)


@dataclass(frozen=True, slots=True)
class _Part:
    """One panel's share of a forward pass: rows ``begin`` to ``end`` of the batch."""

    panel: Panel
    begin: int
    end: int
    index: Tensor
    mask: Tensor


class RowBatch:
    """Rows that are fed one token each at a time."""

    def __init__(self, shape: KVShape, dtype: torch.dtype, device: torch.device) -> None:
        self.shape, self.dtype, self.device = shape, dtype, device
        self.panels: dict[int, Panel] = {}
        self._plan: list[_Part] = []
        self.columns_read = 0
        self.columns_used = 0

    def places(self) -> Iterator[Place]:
        """All rows in the order in which tokens are fed and features come back."""
        for columns in sorted(self.panels):
            yield from self.panels[columns].places

    def enter(self, item: Any, path: Sequence[Segment]) -> Place:
        """Add a row that continues the segments of ``path``, which are copied."""
        length = sum(segment.shape[3] for segment in path)
        place = Place(item, length)
        panel = self._panel(length + 1)
        panel.add(place)
        column = 0
        for segment in path:
            panel.data[:, :, place.slot, :, column : column + segment.shape[3]] = segment
            column += segment.shape[3]
        return place

    def leave(self, place: Place, *, poisoned: bool = False) -> None:
        """Take a row out; ``poisoned`` says that NaN or infinity may be among its keys and values."""
        self._vacate(place.panel, place.slot, poisoned)

    def _vacate(self, panel: Panel, slot: int, poisoned: bool) -> None:
        panel.remove(slot, poisoned=poisoned)
        if not panel.places:
            del self.panels[panel.columns]

    def columns(self, place: Place, begin: int, end: int) -> Segment:
        """A copy of a row's keys and values of tokens ``begin`` to ``end``."""
        return place.panel.data[:, :, place.slot, :, begin:end].clone()

    def _panel(self, length: int) -> Panel:
        columns = -(-length // COLUMNS) * COLUMNS
        if columns not in self.panels:
            self.panels[columns] = Panel(self.shape, columns, self.dtype, self.device)
        return self.panels[columns]

    def make_room(self) -> None:
        """Move rows that fill their panel to the next one; call before tokens are chosen for ``places``."""
        for columns in sorted(self.panels, reverse=True):
            panel = self.panels[columns]
            for place in [p for p in panel.places if p.length == columns]:
                slot = place.slot
                wider = self._panel(columns + 1)
                wider.add(place)
                wider.data[:, :, place.slot, :, :columns] = panel.data[:, :, slot]
                self._vacate(panel, slot, poisoned=False)

    def begin(self) -> Tensor:
        """Plan a pass that feeds one token to each row; returns their positions ``[N]``."""
        self._plan, begin = [], 0
        positions: list[int] = []
        heads = torch.arange(self.shape.heads, device=self.device)
        for columns in sorted(self.panels):
            panel = self.panels[columns]
            lengths = [p.length for p in panel.places]
            length_n = torch.tensor(lengths, device=self.device)
            slot_n = torch.arange(len(lengths), device=self.device)
            index = ((slot_n[:, None] * self.shape.heads + heads) * columns + length_n[:, None]).reshape(-1)
            hidden = torch.arange(columns, device=self.device) > length_n[:, None]
            mask = torch.zeros(hidden.shape, dtype=self.dtype, device=self.device)
            mask = mask.masked_fill_(hidden, float("-inf"))[:, None, None]
            self._plan.append(_Part(panel, begin, begin + len(lengths), index, mask))
            begin += len(lengths)
            positions += lengths
            self.columns_read += columns * len(lengths)
            self.columns_used += sum(lengths) + len(lengths)
        return torch.tensor(positions, device=self.device)

    def commit(self) -> None:
        """The pass is done: each row is one token longer."""
        for place in self.places():
            place.length += 1

    def __call__(self, layer: int, query: Tensor, key: Tensor, value: Tensor, scaling: float | None = None) -> Tensor:
        """Keep the new keys and values, and attend; shapes as in ``model.blocks.Attention`` with B = 1, T = rows."""
        heads, size = self.shape.heads, self.shape.head_dim
        q, k, v = (x[0].transpose(0, 1) for x in (query, key, value))
        group = q.shape[1] // heads
        out = []
        for part in self._plan:
            count = part.end - part.begin
            keys, values = part.panel.data[layer]
            keys.view(-1, size).index_copy_(0, part.index, k[part.begin : part.end].reshape(-1, size))
            values.view(-1, size).index_copy_(0, part.index, v[part.begin : part.end].reshape(-1, size))
            queries = q[part.begin : part.end].reshape(count, heads, group, size)
            out.append(_attend(queries, keys, values, part.mask, scaling).reshape(count, heads * group, size))
        return torch.cat(out)[None]


def _attend(queries: Tensor, keys: Tensor, values: Tensor, mask: Tensor, scaling: float | None) -> Tensor:
    """Attention of ``[n, kv_heads, group, d]`` queries on the first n rows of a panel.

    The group of query heads that shares a key head stands in the place of query tokens, so keys are read once.
    """
    count, _, group, _ = queries.shape
    # MKL is much slower for 3 queries than for 4; a lone row with several threads takes another path through torch,
    # whose sums differ in the last bit.
    rows, wide = max(count, 2), group + 1 if group == 3 else group
    on_cpu = queries.device.type == "cpu"
    if on_cpu and (rows != count or wide != group):
        queries = F.pad(queries, (0, 0, 0, wide - group, 0, 0, 0, rows - count))
        mask = F.pad(mask, (0, 0, 0, 0, 0, 0, 0, rows - count)) if rows != count else mask
    rows = queries.shape[0]
    out = F.scaled_dot_product_attention(
        queries, keys[:rows], values[:rows], mask.expand(-1, 1, queries.shape[2], -1), scale=scaling
    )
    return out[:count, :, :group]


class PromptBatch:
    """Whole prompts side by side as one sequence, each attending to itself alone.

    Attributes:
        lengths: Tokens of each prompt.
    """

    def __init__(self, shape: KVShape, lengths: Sequence[int]) -> None:
        self.shape, self.lengths = shape, list(lengths)
        self._layers: dict[int, tuple[Tensor, Tensor]] = {}

    def positions(self, device: torch.device) -> Tensor:
        """``[total tokens]`` position of each token in its own prompt."""
        return torch.cat([torch.arange(n, device=device) for n in self.lengths])

    def __call__(self, layer: int, query: Tensor, key: Tensor, value: Tensor, scaling: float | None = None) -> Tensor:
        """Causal attention within each prompt; shapes as in ``model.blocks.Attention`` with B = 1."""
        self._layers[layer] = (key[0], value[0])
        grouped = query.shape[1] != key.shape[1]
        out, begin = [], 0
        for length in self.lengths:
            cut = slice(begin, begin + length)
            out.append(
                F.scaled_dot_product_attention(
                    query[:, :, cut], key[:, :, cut], value[:, :, cut],
                    is_causal=length > 1, scale=scaling, enable_gqa=grouped,
                )
            )  # fmt: skip
            begin += length
        return torch.cat(out, dim=2).transpose(1, 2)

    def segments(self) -> list[Segment]:
        """Keys and values of each prompt."""
        whole = torch.stack([torch.stack(self._layers[i]) for i in range(len(self._layers))])
        return [part.contiguous() for part in whole.split(self.lengths, dim=3)]
