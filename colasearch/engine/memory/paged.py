"""Keys and values in pages: rows, prompts and tree nodes that refer to one pool (``pages.py``) and copy nothing."""

from __future__ import annotations

from collections.abc import Hashable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any
from weakref import WeakValueDictionary

import numpy as np
import torch
from torch import Tensor

from colasearch.engine.memory.interfaces import PLAIN, Scoring
from colasearch.engine.memory.pages import SPARE, Known, PagePool, Run, most_common, table_of
from colasearch.engine.memory.prefill import TablePrompts
from colasearch.engine.memory.prompts import PromptBatch
from colasearch.engine.memory.shape import KVShape
from colasearch.engine.memory.store import KVStore
from colasearch.engine.memory.tables import (
    PlainTables,
    TableAttention,
    Text,
    VarlenTables,
    kernel_page,
    long_prompt,
)

GPU_SHARE = 0.8
"""Share of a GPU's free memory that the pool takes."""


@dataclass(slots=True, eq=False)
class PagedPlace:
    """A row.

    Attributes:
        item: What the owner of the batch knows the row by.
        length: Tokens held, prompt included.
        table: Block table; its pages are held.
        prompt: Tokens of a long prompt at its beginning.
        prompt_key: Equal for rows with the same such prompt.
        room: Positions below are this row's to write, or written.
    """

    item: Any
    length: int
    table: list[int]
    prompt: int = 0
    prompt_key: tuple[int, int] = (0, 0)
    room: int = field(default=0)


class PagedRows:
    """Rows that are fed one token each at a time, by block tables (an ``AttendedRows``).

    Attributes:
        memory: The pool.
    """

    def __init__(self, pool: PagePool, attention: TableAttention) -> None:
        self.memory, self._attention = pool, attention
        self._places: list[PagedPlace] = []
        self._slots = torch.zeros(0, dtype=torch.long)

    def places(self) -> Iterator[PagedPlace]:
        """All rows in the order in which tokens are fed and features come back."""
        return iter(self._places)

    def enter(self, item: Any, path: Sequence[Run]) -> PagedPlace:
        """Add a row that continues the runs of ``path``."""
        table = table_of(path)
        self.memory.hold(table)
        length = path[-1].end if path else 0
        prompt = long_prompt(path[0].end) if path else 0
        key = (path[0].pages[-1], prompt) if prompt else (0, 0)
        place = PagedPlace(item, length, table, prompt, key, room=length)
        self._places.append(place)
        return place

    def leave(self, place: PagedPlace, *, poisoned: bool = False) -> None:
        """Take a row out. A poisoned one harms nobody: what it wrote is not read before it is overwritten."""
        self._places.remove(place)
        self.memory.release(place.table)

    def make_room(self) -> None:
        """Give each row a place of its own for its next token."""
        for place in self._places:
            if place.room == place.length:
                self.memory.room(place.table, place.length)
                place.room += 1
        self.memory.settle()

    def columns(self, place: PagedPlace, begin: int, end: int) -> Run:
        """A row's tokens ``begin`` to ``end``; nothing is copied."""
        return Run(self.memory, place.table, begin, end)

    def begin(self) -> Tensor:
        """Plan a pass that feeds one token to each row; returns their positions ``[N]``."""
        pool, page = self.memory, self.memory.page
        lengths = [place.length for place in self._places]
        slots = [p.table[p.length // page] * page + p.length % page for p in self._places]
        both = torch.from_numpy(np.array([slots, lengths], np.int64)).to(pool.device, non_blocking=True)
        self._slots = both[0]
        self._attention.plan(pool, [Text(p.table, p.length + 1, p.prompt, p.prompt_key) for p in self._places])
        return both[1]

    def described(self, rows: int, width: int) -> np.ndarray:
        """What ``begin`` plans, as numbers that one copy takes to the device: ``[2 + width, rows]``.

        The place of the new token in the pool, its position, and the block table, column by column. Beyond the rows
        that there are stand rows of one token, in a page that is nobody's.
        """
        page = self.memory.page
        numbers = np.zeros((2 + width, rows), np.int64)
        numbers[0], numbers[2] = SPARE * page, SPARE
        for i, place in enumerate(self._places):
            table, length = place.table, place.length
            numbers[0, i], numbers[1, i] = table[length // page] * page + length % page, length
            numbers[2 : 2 + len(table), i] = table
        return numbers

    @property
    def widest(self) -> int:
        """Pages of the longest block table."""
        return max(len(place.table) for place in self._places)

    @property
    def takes_tensors(self) -> bool:
        """Whether ``attach`` may stand for ``begin``."""
        return isinstance(self._attention, VarlenTables)

    def attach(self, numbers: Tensor) -> Tensor:
        """As ``begin``, from what ``described`` gave, on the device; nothing on the host depends on the rows."""
        assert isinstance(self._attention, VarlenTables)
        self._slots, positions = numbers[0], numbers[1]
        tables = numbers[2:].T.to(torch.int32, memory_format=torch.contiguous_format)
        self._attention.use(tables, (positions + 1).int(), tables.shape[1] * self.memory.page)
        return positions

    def commit(self) -> None:
        """The pass is done: each row is one token longer."""
        for place in self._places:
            place.length += 1

    def __call__(self, layer: int, query: Tensor, key: Tensor, value: Tensor, scoring: Scoring = PLAIN) -> Tensor:
        """Keep the new keys and values, and attend; shapes as in ``model.blocks.Attention`` with B = 1, T = rows."""
        shape = self.memory.shape
        q, k, v = (x[0].transpose(0, 1) for x in (query, key, value))
        keys, values = self.memory.data[layer]
        keys.flatten(0, 1).index_copy_(0, self._slots, k)
        values.flatten(0, 1).index_copy_(0, self._slots, v)
        how = scoring.scaled(shape.head_dim)
        out = self._attention(q.reshape(len(q), shape.heads, -1, shape.head_dim), keys, values, how)
        return out.reshape(1, len(q), -1, shape.head_dim)


class PagedPrompts(PromptBatch):
    """Whole prompts side by side, whose keys and values then stand in pages, what they have in common once.

    A prompt is encoded as a whole, so that its numbers depend on nothing else, and then takes the pages of the prompt
    with the longest common beginning, as far as the numbers there are its own to the last bit.
    """

    def __init__(self, pool: PagePool, prompts: Sequence[Sequence[int]], known: Known) -> None:
        super().__init__(pool.shape, prompts, pool.device)
        self.pool, self._known = pool, known

    def segments(self) -> list[Run]:
        """A run for each prompt."""
        runs: list[Run] = []
        for prompt, segment in zip(self.prompts, super().segments(), strict=True):
            table = self._begun(tuple(prompt), segment)
            self.pool.hold(table)
            try:
                fresh = len(table) * self.pool.page
                for position in range(fresh, len(prompt)):
                    self.pool.room(table, position)
                self.pool.settle()
                where = torch.from_numpy(self.pool.slots(table, fresh, len(prompt))).to(self.pool.device)
                # ``[layers, 2, pages x page, heads, head_dim]``
                self.pool.data.flatten(2, 3).index_copy_(2, where, segment[:, :, :, fresh:].transpose(2, 3))
                runs.append(Run(self.pool, table, 0, len(prompt)))
            finally:
                self.pool.release(table)  # the run holds it
            self._known[tuple(prompt)] = runs[-1]
        return runs

    def _begun(self, prompt: tuple[int, ...], segment: Tensor) -> list[int]:
        """The whole pages that a prompt shares with one that is there."""
        shared, run = most_common(prompt, self._known)
        if run is None or shared < self.pool.page:
            return []
        where = torch.from_numpy(self.pool.slots(run.pages, 0, shared)).to(self.pool.device)
        there = self.pool.data.flatten(2, 3)[:, :, where].transpose(2, 3)
        other = (there != segment[:, :, :, :shared]).any(-1).any(2).any(1).any(0).nonzero()
        equal = int(other[0]) if len(other) else shared
        return list(run.pages[: equal // self.pool.page])


class PagedNodes(KVStore):
    """Runs of tree nodes, under a budget: of those that no row refers to, the ones used longest ago go first."""

    def __init__(self, pool: PagePool, budget: int | None) -> None:
        super().__init__(budget)
        pool.make_free = self.evict

    def _oldest(self) -> Hashable | None:
        return next((key for key, run in self._entries.items() if not run.wanted), None)


def free_bytes(device: torch.device) -> int:
    """Free memory of a GPU; what torch keeps for later is free, too."""
    torch.cuda.empty_cache()
    return int(torch.cuda.mem_get_info(device)[0])


class Paged:
    """The way of keeping keys and values in pages; see ``choose.Memories``.

    Attributes:
        pool: The pages.
        cuts_prompts: Whether prompts are encoded in pieces: where a kernel attends over block tables.
    """

    def __init__(self, shape: KVShape, dtype: torch.dtype, device: torch.device) -> None:
        found = None if shape.unlike_kernels else kernel_page(device, dtype, shape.heads, shape.head_dim)
        self.cuts_prompts = found is not None
        limit, page = None, found or 1
        if device.type == "cuda":
            free = int(free_bytes(device) * GPU_SHARE)
            size = 2 * shape.layers * shape.heads * shape.head_dim * dtype.itemsize * page
            limit = max(1, free // size - 1)
        self.pool = PagePool(shape, dtype, device, page, limit)
        self._known: Known = WeakValueDictionary()

    def nodes(self, budget: int | None) -> PagedNodes:
        """An empty memory for tree nodes."""
        return PagedNodes(self.pool, budget)

    def rows(self) -> PagedRows:
        """An empty batch of rows."""
        return PagedRows(self.pool, VarlenTables() if self.cuts_prompts else PlainTables())

    def prompts(self, prompts: Sequence[Sequence[int]]) -> PagedPrompts | TablePrompts:
        """Attention for encoding prompts: side by side, or in pieces."""
        if self.cuts_prompts:
            return TablePrompts(self.pool, prompts, self._known)
        return PagedPrompts(self.pool, prompts, self._known)

    def after(self, path: Sequence[Run], tokens: Sequence[int]) -> TablePrompts | None:
        """Attention for encoding more of a text; None where it goes on a token at a time."""
        if not self.cuts_prompts:
            return None
        return TablePrompts.after(self.pool, table_of(path), path[-1].end if path else 0, tokens)
