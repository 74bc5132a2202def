"""One pool of pages for all keys and values: reference counts, and nothing copied where texts share a beginning.

The token at position t of a text stands in the page ``t // page`` of the text's *block table*, at ``t % page``. Texts
with a common beginning have the same pages there. A page is held by the runs (a prompt's, a node's) and rows that
refer to it, and is free with the last of them.

Pages of one token (the default) waste nothing, however short a tree's steps are; a kernel over block tables may want
longer ones. There, a text that goes on within a page that others hold writes into its free part, if nobody has yet,
else into a copy of that page.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from weakref import WeakValueDictionary

import numpy as np
import torch
from torch import Tensor

from colasearch.engine.memory.shape import KVShape

FIRST_PAGES = 1024
"""Pages that a pool begins with on a CPU; it doubles as they run out."""
BLANK = 0
"""A page that nobody is given: what is read in place of tokens that are not there is zero."""
SPARE = 1
"""Another, for what is written by rows that only fill a batch up to a round number."""
AT_ONCE = 16
"""Pages copied together."""


class PagePool:
    """Pages of keys and values.

    Attributes:
        page: Tokens of a page.
        data: ``[layers, 2, pages, page, heads, head_dim]``; larger after ``take`` now and then.
        limit: Most pages; None lets the pool grow while memory lasts.
        make_free: Asked when no page is free: gives one back that nobody needs, and says whether there was one.
        pages_used, pages_peak: Pages that are held now, and at most so far.
    """

    def __init__(
        self, shape: KVShape, dtype: torch.dtype, device: torch.device, page: int = 1, limit: int | None = None
    ) -> None:
        self.shape, self.dtype, self.device, self.page, self.limit = shape, dtype, device, page, limit
        self.make_free: Callable[[], bool] = lambda: False
        self.pages_used = self.pages_peak = 0
        self._holders = [1, 1]
        self._written = [0, 0]
        self._free: list[int] = []
        self._to_clear: list[int] = []
        self._to_copy: list[tuple[int, int, int]] = []
        first = FIRST_PAGES // page if limit is None else limit
        self.data = self._zeros(2)
        self._grow(max(1, first))

    @property
    def token_bytes(self) -> int:
        """Bytes of one token's keys and values."""
        return 2 * self.shape.layers * self.shape.heads * self.shape.head_dim * self.dtype.itemsize

    @property
    def used(self) -> int:
        """Bytes of the pages that are held."""
        return self.pages_used * self.page * self.token_bytes

    @property
    def peak(self) -> int:
        """Most bytes that were held at a time."""
        return self.pages_peak * self.page * self.token_bytes

    def _zeros(self, pages: int) -> Tensor:
        sizes = (self.shape.layers, 2, pages, self.page, self.shape.heads, self.shape.head_dim)
        if self.device.type != "cpu":
            return torch.zeros(sizes, dtype=self.dtype, device=self.device)
        # numpy gets zeroed memory from the system only as it is touched: pages that are not in use cost nothing.
        block = torch.from_numpy(np.zeros(math.prod(sizes) * self.dtype.itemsize, np.uint8))
        return block.view(self.dtype).view(sizes)

    def _grow(self, pages: int) -> None:
        """Add so many pages."""
        old = self.data.shape[2]
        data = self._zeros(old + pages)
        data[:, :, :old] = self.data
        self.data = data
        self._holders += [0] * pages
        self._written += [0] * pages
        self._free += range(old + pages - 1, old - 1, -1)

    def take(self) -> int:
        """A page, held once.

        Raises:
            MemoryError: All pages that the limit allows are held.
        """
        while not self._free:
            if self.limit is None:
                self._grow(self.data.shape[2])
            elif not self.make_free():
                raise MemoryError(f"all {self.limit} pages of keys and values are held")
        number = self._free.pop()
        self._holders[number], self._written[number] = 1, 0
        if self.page > 1:
            # What is left of others is never part of a text, but a kernel may multiply it by zero, NaN too.
            self._to_clear.append(number)
        self.pages_used += 1
        self.pages_peak = max(self.pages_peak, self.pages_used)
        return number

    def hold(self, pages: Sequence[int]) -> None:
        """Hold pages once more."""
        for number in pages:
            self._holders[number] += 1

    def release(self, pages: Sequence[int]) -> None:
        """Hold pages once less."""
        for number in pages:
            self._holders[number] -= 1
            if not self._holders[number]:
                self._free.append(number)
                self.pages_used -= 1

    def shared(self, number: int) -> bool:
        """Whether more than one holds a page."""
        return self._holders[number] > 1

    def room(self, table: list[int], position: int) -> None:
        """See to it that ``table`` has a page for the token at ``position``, which nobody else writes.

        The table holds its pages; all tokens before ``position`` are there. What must be copied for that is copied by
        ``settle``, for all rows together.
        """
        index, offset = divmod(position, self.page)
        if index == len(table):
            table.append(self.take())
        elif self._written[table[index]] != offset:
            old, new = table[index], self.take()
            if self.shared(old):
                self._to_copy.append((old, new, offset))  # and held until then
                table[index] = new
            else:
                self.release([new])  # a row that has started anew: what is written behind its tokens is nobody's
        self._written[table[index]] = offset + 1

    def settle(self) -> None:
        """Clear and copy pages as ``take`` and ``room`` have promised; call before anything is written or read."""
        copied = {new for _, new, _ in self._to_copy}
        clear = [number for number in self._to_clear if number not in copied]
        if clear:
            self.data.index_fill_(2, torch.tensor(clear, device=self.device), 0)
        for begin in range(0, len(self._to_copy), AT_ONCE):
            old, new, kept = torch.tensor(self._to_copy[begin : begin + AT_ONCE], device=self.device).T
            hidden = (torch.arange(self.page, device=self.device) >= kept[:, None])[:, :, None, None]
            self.data.index_copy_(2, new, self.data[:, :, old].masked_fill_(hidden, 0))
        done, self._to_clear, self._to_copy = self._to_copy, [], []
        self.release([old for old, _, _ in done])

    def slots(self, table: Sequence[int], begin: int, end: int) -> np.ndarray:
        """``[end - begin]`` places of tokens in the pool, counted token by token."""
        at = np.arange(begin, end)
        places: np.ndarray = np.asarray(table, np.int64)[at // self.page] * self.page + at % self.page
        return places


class Run:
    """Tokens ``begin`` to ``end`` of a text: a prompt's, or a node's. Holds its pages for as long as it lives.

    Attributes:
        pool: Where the pages are.
        pages: Those that the tokens stand in; the first may have tokens of what goes before.
    """

    __slots__ = ("__weakref__", "begin", "end", "pages", "pool")

    def __init__(self, pool: PagePool, table: Sequence[int], begin: int, end: int) -> None:
        self.pool, self.begin, self.end = pool, begin, end
        self.pages = tuple(table[begin // pool.page : -(-end // pool.page)])
        pool.hold(self.pages)

    def __del__(self) -> None:
        self.pool.release(self.pages)

    @property
    def nbytes(self) -> int:
        """Bytes of the tokens' keys and values."""
        return (self.end - self.begin) * self.pool.token_bytes

    @property
    def wanted(self) -> bool:
        """Whether others refer to all of its pages, as a row below it does: without it none would be free."""
        return all(self.pool.shared(number) for number in self.pages)


def table_of(path: Sequence[Run]) -> list[int]:
    """The block table of a text made of consecutive runs; not held yet."""
    table: list[int] = []
    for run in path:
        # A run that went on in a copy of its parent's last page has that page in its place.
        del table[run.begin // run.pool.page :]
        table += run.pages
    return table


Known = WeakValueDictionary[tuple[int, ...], Run]
"""Runs of prompts by their tokens, for as long as somebody keeps them."""


def most_common(prompt: tuple[int, ...], known: Known) -> tuple[int, Run | None]:
    """The known prompt that has most tokens in common with one at its beginning, and how many."""
    shared, best = 0, None
    for tokens, run in known.items():
        count = common(prompt, tokens)
        if count > shared:
            shared, best = count, run
    return shared, best


def common(one: tuple[int, ...], other: tuple[int, ...]) -> int:
    """How many tokens two texts have in common at their beginning."""
    length = min(len(one), len(other))
    differ = np.asarray(one[:length]) != np.asarray(other[:length])
    return int(differ.argmax()) if differ.any() else length
