"""Attention of one new token of each row over block tables: by plain torch products, and by torch's kernel on a GPU."""

from __future__ import annotations

import functools
import inspect
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np
import torch
from torch import Tensor

from colasearch.engine.memory.interfaces import Scoring
from colasearch.engine.memory.pages import BLANK, PagePool
from colasearch.engine.memory.panels import COLUMNS, LONG_PROMPT
from colasearch.engine.memory.products import attend, attend_and_sum, found_in_prompt, join, sunk
from colasearch.engine.memory.shape import KVShape

KERNEL_PAGES = (16, 32, 64, 128, 256)
"""Tokens of a page that kernels are tried with; the shortest that one takes wastes least."""
KERNEL_SLACK = 0.03
"""Greatest difference of a kernel's results of numbers of about 1 that is rounding."""


@dataclass(frozen=True, slots=True)
class Text:
    """What a row attends to.

    Attributes:
        table: Its block table.
        length: Its tokens, the new one included.
        prompt: Tokens of a prompt at its beginning that is long enough to be read once for all its rows; else 0.
        prompt_key: Equal for rows with the same such prompt.
    """

    table: Sequence[int]
    length: int
    prompt: int = 0
    prompt_key: tuple[int, int] = (0, 0)


class TableAttention(Protocol):
    """Attention of one query a row to the row's keys and values in a pool."""

    def plan(self, pool: PagePool, texts: Sequence[Text]) -> None:
        """Prepare a pass, whose layers all attend to the same texts."""

    def __call__(self, queries: Tensor, keys: Tensor, values: Tensor, how: Scoring) -> Tensor:
        """``[N, kv_heads, group, head_dim]``, of queries of this shape and ``[pages, page, kv_heads, head_dim]``."""


@dataclass(frozen=True, slots=True)
class _Class:
    """Rows of one class of lengths.

    Attributes:
        rows: Their numbers ``[n]``.
        slots: Where their tokens are ``[n, columns]``.
        mask: ``[n, 1, 1, columns]``.
        length_n: How many of the columns are before the new token.
    """

    rows: Tensor
    slots: Tensor
    mask: Tensor
    length_n: Tensor

    def within(self, window: int | None) -> Tensor:
        """The mask, of columns beyond the window too."""
        if window is None:
            return self.mask
        gone = torch.arange(self.slots.shape[1], device=self.mask.device) <= self.length_n[:, None] - window
        return self.mask.masked_fill(gone[:, None, None], float("-inf"))


class PlainTables:
    """The reference: keys and values of rows of like length are gathered, and attended to as panels are.

    On a CPU the shapes of all products are those of ``panels.py``, so the numbers are the same to the last bit. On a
    GPU, where a class costs kernels in each layer, all rows are of one class.
    """

    def plan(self, pool: PagePool, texts: Sequence[Text]) -> None:
        """Put rows of one class of lengths together."""
        device = pool.device
        if device.type != "cpu":
            longest = max(text.length for text in texts)
            texts = [Text(text.table, text.length) for text in texts]
        classes: dict[int, list[int]] = {}
        below: dict[tuple[int, int], list[int]] = {}
        for row, text in enumerate(texts):
            own = text.length - text.prompt
            own = own if device.type == "cpu" else longest
            classes.setdefault(-(-own // COLUMNS) * COLUMNS, []).append(row)
            if text.prompt:
                below.setdefault(text.prompt_key, []).append(row)
        self._classes: list[_Class] = []
        for columns, rows in classes.items():
            slots = np.full((len(rows), columns), BLANK, np.int64)
            lengths = np.array([texts[row].length - texts[row].prompt for row in rows])
            for i, row in enumerate(rows):
                slots[i, : lengths[i]] = pool.slots(texts[row].table, texts[row].prompt, texts[row].length)
            hidden = torch.from_numpy(np.arange(columns) >= lengths[:, None]).to(device)
            mask = torch.zeros(hidden.shape, dtype=pool.dtype, device=device).masked_fill_(hidden, float("-inf"))
            where = torch.tensor(rows, device=device)
            self._classes.append(
                _Class(
                    where,
                    torch.from_numpy(slots).to(device),
                    mask[:, None, None],
                    torch.from_numpy(lengths - 1).to(device),
                )
            )
        self._longest = max((text.length for text in texts), default=0)
        self._prompts = [
            (
                torch.from_numpy(pool.slots(texts[rows[0]].table, 0, texts[rows[0]].prompt)).to(device),
                torch.tensor(rows, device=device),
                torch.tensor([texts[row].length - 1 for row in rows], device=device),
            )
            for rows in below.values()
        ]

    def __call__(self, queries: Tensor, keys: Tensor, values: Tensor, how: Scoring) -> Tensor:
        """Attend class by class, then to the long prompts."""
        how = how.within(self._longest)
        keys, values = keys.flatten(0, 1), values.flatten(0, 1)
        out = torch.empty_like(queries)
        sums = torch.empty(queries.shape[:-1], device=queries.device)
        for part in self._classes:
            mine = queries[part.rows]
            k, v = (x[part.slots].transpose(1, 2).contiguous() for x in (keys, values))
            mask = part.within(how.window)
            if self._prompts or how.sinks is not None:
                found, logsum = attend_and_sum(mine, k, v, mask, how)
                sums[part.rows] = logsum
            else:
                found = attend(mine, k, v, mask, how)
            out[part.rows] = found
        for slots, rows, positions in self._prompts:
            k, v = (x[slots].transpose(0, 1).contiguous() for x in (keys, values))
            found, logsum = found_in_prompt(queries[rows], k, v, how, positions)
            out, sums = join(out, sums, found, logsum, rows)
        return sunk(out, sums, how.sinks)


class VarlenTables:
    """``torch.nn.attention.varlen`` over the pool: one kernel a layer, whatever the rows' lengths.

    ``num_splits=1`` makes a row's result independent of its batch-mates.
    """

    def plan(self, pool: PagePool, texts: Sequence[Text]) -> None:
        """Make block tables and lengths of one shape, in one copy to the device each."""
        rows, longest = len(texts), max(len(text.table) for text in texts)
        tables = np.full((rows, longest), BLANK, np.int32)
        for row, text in enumerate(texts):
            tables[row, : len(text.table)] = text.table
        lengths = np.array([text.length for text in texts], np.int32)
        on: dict[str, Any] = {"device": pool.device, "non_blocking": True}
        self.use(torch.from_numpy(tables).to(**on), torch.from_numpy(lengths).to(**on), int(lengths.max()))

    def use(self, tables: Tensor, lengths: Tensor, longest: int) -> None:
        """Attend by block tables ``[N, pages]`` to texts of ``lengths`` ``[N]``, none above ``longest``."""
        self._tables, self._lengths, self._longest = tables, lengths, longest
        self._starts = torch.arange(len(lengths) + 1, dtype=torch.int32, device=lengths.device)

    def __call__(self, queries: Tensor, keys: Tensor, values: Tensor, how: Scoring) -> Tensor:
        """One call of the kernel; groups of query heads share a key head there."""
        from torch.nn.attention.varlen import varlen_attn_out

        rows, heads, group, size = queries.shape
        assert how.cap is None
        assert how.sinks is None
        how = how.within(self._longest)
        asked = queries.reshape(rows, heads * group, size)
        # The variant that is given its output: the other one also clears random numbers' state, a launch of its own.
        out = torch.empty_like(asked)
        varlen_attn_out(
            out,
            asked,
            keys,
            values,
            self._starts,
            None,
            1,
            self._longest,
            scale=how.scale,
            # Causal within a window, that is: a query and so many tokens to its left, none to its right.
            window_size=(-1, -1) if how.window is None else (how.window - 1, 0),
            enable_gqa=True,
            seqused_k=self._lengths,
            block_table=self._tables,
            num_splits=1,
        )
        return out.view(rows, heads, group, size)


@functools.cache
def varlen_serves(device: torch.device, dtype: torch.dtype) -> bool:
    """Whether torch's kernel over block tables runs here: a recent torch, a GPU of Ampere or later, half precision."""
    if device.type != "cuda" or dtype not in (torch.float16, torch.bfloat16):
        return False
    if torch.version.hip is not None or torch.cuda.get_device_capability(device)[0] < 8:
        return False
    try:
        from torch.nn.attention.varlen import varlen_attn_out
    except ImportError:
        return False
    return {"block_table", "seqused_k", "num_splits"} <= inspect.signature(varlen_attn_out).parameters.keys()


@functools.cache
@torch.inference_mode()
def kernel_page(device: torch.device, dtype: torch.dtype, heads: int, head_dim: int) -> int | None:
    """Tokens of the shortest pages that torch's kernel takes here; None where there is none, or it says otherwise.

    Versions of the kernel differ in what they take: it is tried, against plain products.
    """
    if not varlen_serves(device, dtype):
        return None
    shape = KVShape(1, 0, heads, head_dim)
    for page in KERNEL_PAGES:
        pool = PagePool(shape, dtype, device, page, limit=8)
        generator = torch.Generator().manual_seed(0)
        pool.data.copy_(torch.randn(pool.data.shape, generator=generator))
        pool.data[:, :, BLANK] = 0
        texts = [Text((2, 3, 4), 2 * page + 3), Text((5,), 1), Text((6, 7), 2 * page)]
        queries = torch.randn(len(texts), heads, 2, head_dim, generator=generator).to(device, dtype)
        try:
            found = []
            ways: tuple[TableAttention, ...] = (PlainTables(), VarlenTables())
            for attention in ways:
                attention.plan(pool, texts)
                keys, values = pool.data[0]
                found.append(attention(queries, keys, values, Scoring(head_dim**-0.5)).float())
        except (RuntimeError, ValueError):
            continue
        if float((found[0] - found[1]).abs().max()) <= KERNEL_SLACK:
            return page
    return None


def long_prompt(tokens: int) -> int:
    """Tokens of a prompt that rows attend to together: all of a long one, none of another."""
    return tokens if tokens >= LONG_PROMPT else 0
