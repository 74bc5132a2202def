"""Attention over rows of different lengths that are decoded together, each with its own keys and values.

Rows stand in *panels*: a panel holds the rows whose length falls into one class of 32 columns, and grows no wider
than that class. A row that outgrows its panel moves to the next. So

- a row's attention is computed at a shape that follows from its own length alone: with another shape MKL sums in
  another order, and a search would depend on its batch-mates;
- less than 32 columns of a row are padding;
- linear layers see the rows side by side as one long sequence, without any padding.

A long prompt is not copied to its rows: they attend to it together and to their own tokens apart, and the two results
are joined by their log-sum-exps. Whether a prompt is long follows from its length alone, again for the sake of equal
bits.

transformers calls ``attention.rows_attention`` in place of its own attention, which hands on to these rows.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import torch
from torch import Tensor

from colasearch.engine.memory.interfaces import PLAIN, Scoring
from colasearch.engine.memory.products import attend, attend_and_sum, found_in_prompt, join, sunk
from colasearch.engine.memory.shape import KVShape, Segment

COLUMNS = 32
"""Width of a class of lengths."""

SLOTS = 16
"""Most rows of a panel."""

LONG_PROMPT = 256
"""Tokens from which on rows attend to their prompt together; below, reading it for each row is cheaper."""


class Memory:
    """Blocks of memory that come and go as rows do; fresh memory costs the system more than a decoding step.

    Blocks hold finite numbers always: a masked column has weight 0, but 0 times NaN is NaN.

    Attributes:
        used, peak: Bytes handed out now, and at most so far.
    """

    def __init__(self, dtype: torch.dtype, device: torch.device) -> None:
        self.dtype, self.device = dtype, device
        self.used = self.peak = 0
        self._free: list[Tensor] = []

    def take(self, numbers: int) -> Tensor:
        """A flat tensor of at least so many numbers."""
        fitting = [i for i, block in enumerate(self._free) if numbers <= block.numel() <= 2 * numbers]
        best = min(fitting, key=lambda i: self._free[i].numel(), default=None)
        block = self._fresh(numbers) if best is None else self._free.pop(best)
        self.used += block.nbytes
        self.peak = max(self.peak, self.used)
        return block

    def _fresh(self, numbers: int) -> Tensor:
        if self.device.type != "cpu":
            return torch.zeros(numbers, dtype=self.dtype, device=self.device)
        # numpy gets zeroed pages from the system only as they are touched; torch.zeros writes them all.
        return torch.from_numpy(np.zeros(numbers * self.dtype.itemsize, np.uint8)).view(self.dtype)

    def give(self, block: Tensor) -> None:
        """Take a block back; the oldest go while this holds half as much again as was ever in use."""
        self.used -= block.nbytes
        self._free.append(block)
        while self.used + sum(b.nbytes for b in self._free) > 1.5 * self.peak:
            del self._free[0]


class Panel:
    """Rows of one class of lengths, at most ``SLOTS`` of them.

    Attributes:
        columns: Width.
        data: ``[layers, 2, slots, heads, columns, head_dim]``; unused places hold finite numbers.
        places: The rows in use, in the first slots.
    """

    def __init__(self, shape: KVShape, columns: int, memory: Memory) -> None:
        self.shape, self.columns, self.memory = shape, columns, memory
        self.places: list[Place] = []
        sizes = (shape.layers, 2, SLOTS, shape.heads, columns, shape.head_dim)
        self._block = memory.take(math.prod(sizes))
        self.data = self._block[: math.prod(sizes)].view(sizes)

    @property
    def full(self) -> bool:
        """No row may be added."""
        return len(self.places) == SLOTS

    def free(self) -> None:
        """Give the memory back."""
        self.memory.give(self._block)

    def add(self, place: Place) -> None:
        """Give ``place`` a slot here."""
        place.panel, place.slot = self, len(self.places)
        self.places.append(place)

    def remove(self, slot: int, *, poisoned: bool = False) -> None:
        """Free a slot; the last row moves into it. What a poisoned row held is overwritten."""
        last = self.places.pop()
        free = len(self.places)
        if poisoned:
            self.data[:, :, slot].zero_()
        if slot != free:
            self.data[:, :, slot, :, : last.length] = self.data[:, :, free, :, : last.length]
            self.places[slot], last.slot = last, slot


@dataclass(slots=True, eq=False)
class Place:
    """Where a row's keys and values are.

    Attributes:
        item: What the owner of the batch knows the row by.
        length: Tokens held in the panel.
        prompt: Keys and values of a long prompt that stands before them.
    """

    item: Any
    length: int = 0
    prompt: Segment | None = None
    panel: Panel = field(init=False, repr=False)
    slot: int = field(init=False, default=0)


@dataclass(frozen=True, slots=True)
class _Part:
    """One panel's share of a forward pass: rows ``begin`` to ``end`` of the batch, of ``length_n`` tokens in it."""

    panel: Panel
    begin: int
    end: int
    index: Tensor
    mask: Tensor
    length_n: Tensor

    def within(self, window: int | None) -> Tensor:
        """The mask, of columns beyond the window too."""
        if window is None:
            return self.mask
        gone = torch.arange(self.panel.columns, device=self.mask.device) <= self.length_n[:, None] - window
        return self.mask.masked_fill(gone[:, None, None], float("-inf"))


@dataclass(frozen=True, slots=True)
class _Shared:
    """A long prompt's share of a forward pass: the rows of the batch that stand below it, and their positions."""

    prompt: Segment
    rows: Tensor
    position_n: Tensor


class RowBatch:
    """Rows that are fed one token each at a time.

    Attributes:
        panels: The panels in use.
        memory: Where they take their memory from.
        columns_read, columns_used: Columns that attention has gone over so far, and those of them that held a token.
    """

    def __init__(self, shape: KVShape, dtype: torch.dtype, device: torch.device) -> None:
        self.shape, self.dtype, self.device = shape, dtype, device
        self.memory = Memory(dtype, device)
        self.panels: list[Panel] = []
        self._plan: list[_Part] = []
        self._shared: list[_Shared] = []
        self._longest = 0
        self.columns_read = 0
        self.columns_used = 0

    def places(self) -> Iterator[Place]:
        """All rows in the order in which tokens are fed and features come back."""
        for panel in self.panels:
            yield from panel.places

    def enter(self, item: Any, path: Sequence[Segment]) -> Place:
        """Add a row that continues the segments of ``path``, which are copied but for a long prompt at its head."""
        prompt = path[0] if path and path[0].shape[3] >= LONG_PROMPT else None
        path = path if prompt is None else path[1:]
        length = sum(segment.shape[3] for segment in path)
        place = Place(item, length, prompt)
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
            panel.free()
            self.panels.remove(panel)

    def columns(self, place: Place, begin: int, end: int) -> Segment:
        """A copy of a row's keys and values from ``begin`` to ``end``, counted as ``Place.length`` is."""
        return place.panel.data[:, :, place.slot, :, begin:end].clone()

    def _panel(self, length: int) -> Panel:
        """A panel with a free slot for rows of this length."""
        columns = -(-length // COLUMNS) * COLUMNS
        for panel in self.panels:
            if panel.columns == columns and not panel.full:
                return panel
        panel = Panel(self.shape, columns, self.memory)
        self.panels.append(panel)
        return panel

    def make_room(self) -> None:
        """Move rows that fill their panel to the next one; call before tokens are chosen for ``places``."""
        for panel in list(self.panels):
            for place in [p for p in panel.places if p.length == panel.columns]:
                slot = place.slot
                wider = self._panel(panel.columns + 1)
                wider.add(place)
                wider.data[:, :, place.slot, :, : panel.columns] = panel.data[:, :, slot]
                self._vacate(panel, slot, poisoned=False)

    def begin(self) -> Tensor:
        """Plan a pass that feeds one token to each row; returns their positions ``[N]``."""
        self._plan, begin = [], 0
        positions: list[int] = []
        below: dict[int, tuple[Segment, list[int]]] = {}
        heads = torch.arange(self.shape.heads, device=self.device)
        for panel in self.panels:
            columns, lengths = panel.columns, [p.length for p in panel.places]
            length_n = torch.tensor(lengths, device=self.device)
            slot_n = torch.arange(len(lengths), device=self.device)
            index = ((slot_n[:, None] * self.shape.heads + heads) * columns + length_n[:, None]).reshape(-1)
            hidden = torch.arange(columns, device=self.device) > length_n[:, None]
            mask = torch.zeros(hidden.shape, dtype=self.dtype, device=self.device)
            mask = mask.masked_fill_(hidden, float("-inf"))[:, None, None]
            self._plan.append(_Part(panel, begin, begin + len(lengths), index, mask, length_n))
            for row, place in enumerate(panel.places, start=begin):
                positions.append(place.length + (0 if place.prompt is None else place.prompt.shape[3]))
                if place.prompt is not None:
                    below.setdefault(id(place.prompt), (place.prompt, []))[1].append(row)
            begin += len(lengths)
            self.columns_read += columns * len(lengths)
            self.columns_used += sum(lengths) + len(lengths)
        self._longest = 1 + max(positions, default=0)
        position_N = torch.tensor(positions, device=self.device)
        self._shared = []
        for prompt, rows in below.values():
            index = torch.tensor(rows, device=self.device)
            self._shared.append(_Shared(prompt, index, position_N[index]))
        return position_N

    def commit(self) -> None:
        """The pass is done: each row is one token longer."""
        for place in self.places():
            place.length += 1

    def __call__(self, layer: int, query: Tensor, key: Tensor, value: Tensor, scoring: Scoring = PLAIN) -> Tensor:
        """Keep the new keys and values, and attend; shapes as in ``model.blocks.Attention`` with B = 1, T = rows."""
        heads, size = self.shape.heads, self.shape.head_dim
        how = scoring.scaled(size).within(self._longest)
        q, k, v = (x[0].transpose(0, 1) for x in (query, key, value))
        queries = q.reshape(len(q), heads, -1, size)
        out, sums = [], []
        for part in self._plan:
            keys, values = part.panel.data[layer]
            keys.view(-1, size).index_copy_(0, part.index, k[part.begin : part.end].reshape(-1, size))
            values.view(-1, size).index_copy_(0, part.index, v[part.begin : part.end].reshape(-1, size))
            mine = queries[part.begin : part.end]
            mask = part.within(how.window)
            if self._shared or how.sinks is not None:
                attended, logsum = attend_and_sum(mine, keys[: len(mine)], values[: len(mine)], mask, how)
                sums.append(logsum)
            else:
                attended = attend(mine, keys[: len(mine)], values[: len(mine)], mask, how)
            out.append(attended)
        whole = torch.cat(out)
        if sums:
            whole = self._with_prompts(layer, queries, whole, torch.cat(sums), how)
        return whole.reshape(1, len(q), -1, size)

    def _with_prompts(self, layer: int, queries: Tensor, own: Tensor, sums: Tensor, how: Scoring) -> Tensor:
        """Put what rows attend to in their long prompts together with what they attend to in their own tokens."""
        for shared in self._shared:
            asked = queries[shared.rows]
            keys, values = shared.prompt[layer]
            found, logsum = found_in_prompt(asked, keys, values, how, shared.position_n)
            own, sums = join(own, sums, found, logsum, shared.rows)
        return sunk(own, sums, how.sinks)
