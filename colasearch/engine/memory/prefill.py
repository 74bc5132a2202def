"""Prompts encoded straight into pages: what several have in common is computed once, long ones in pieces.

A piece attends to what stands in the pages before it, so how a prompt is cut changes its numbers in the last bit. On a
CPU prompts are therefore encoded whole (``prompts.py``); here the kernel's rounding differs with the batch anyway.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any
from weakref import WeakValueDictionary

import numpy as np
import torch
from torch import Tensor

from colasearch.engine.memory.interfaces import PLAIN, Passage, Scoring
from colasearch.engine.memory.pages import BLANK, Known, PagePool, Run, common, most_common

AT_ONCE = 2048
"""Tokens that go through the model together."""


@dataclass(slots=True)
class _Prompt:
    """A prompt in progress.

    Attributes:
        tokens: The prompt.
        table: Block table; its pages are held.
        done: Tokens that stand in pages.
        waits_for: Prompt of this call whose first tokens it takes over, and how many.
    """

    tokens: tuple[int, ...]
    table: list[int]
    done: int = 0
    waits_for: tuple[_Prompt, int] | None = None


class TablePrompts:
    """Several prompts on their way into pages (a ``PromptAttention``).

    Attributes:
        computed: Tokens run through the model, once ``passages`` is through.
    """

    def __init__(self, pool: PagePool, prompts: Sequence[Sequence[int]], known: Known) -> None:
        self.computed = 0
        self._pool, self._known = pool, known
        self._prompts: list[_Prompt] = []
        for tokens in prompts:
            self._prompts.append(self._begun(tuple(tokens)))

    @classmethod
    def after(cls, pool: PagePool, table: list[int], length: int, tokens: Sequence[int]) -> TablePrompts:
        """More of a text whose first ``length`` tokens stand in the pages of ``table``."""
        one = cls(pool, [], WeakValueDictionary())
        pool.hold(table)
        one._prompts.append(_Prompt((0,) * length + tuple(tokens), table, length))  # what is there is not read again
        return one

    def __del__(self) -> None:
        for prompt in self._prompts:  # some are left where a pass failed
            self._pool.release(prompt.table)

    def _begun(self, tokens: tuple[int, ...]) -> _Prompt:
        """A prompt with the whole pages of the one that has most in common with it.

        Its last token is always computed: what follows from it is wanted, and is kept nowhere.
        """
        page = self._pool.page
        first: _Prompt | None = None
        most = (len(tokens) - 1) // page * page
        shared, run = most_common(tokens, self._known)
        shared = min(shared // page * page, most)
        for other in self._prompts:
            ahead = min(common(tokens, other.tokens) // page * page, most)
            if ahead > shared:
                shared, first = ahead, other
        if first is not None:
            return _Prompt(tokens, [], waits_for=(first, shared))
        table = [] if run is None else list(run.pages[: shared // page])
        self._pool.hold(table)
        return _Prompt(tokens, table, shared)

    def passages(self) -> Iterator[Passage]:
        """What to run through the model, one after another, with this object as attention."""
        waiting = list(range(len(self._prompts)))
        while waiting:
            pieces: list[tuple[_Prompt, int, int]] = []
            ends: list[tuple[int, int]] = []
            room = AT_ONCE
            for number in list(waiting):
                prompt = self._prompts[number]
                if not room:
                    break
                if prompt.waits_for is not None and not self._taken_over(prompt):
                    continue
                end = min(len(prompt.tokens), prompt.done + room)
                room -= end - prompt.done
                pieces.append((prompt, prompt.done, end))
                if end == len(prompt.tokens):
                    ends.append((number, AT_ONCE - room - 1))
                    waiting.remove(number)
            yield self._passage(pieces, ends)
            for prompt, _, end in pieces:
                prompt.done = end

    def _taken_over(self, prompt: _Prompt) -> bool:
        """Take the first pages of the prompt that goes ahead, if they are there."""
        assert prompt.waits_for is not None
        ahead, shared = prompt.waits_for
        if ahead.done < shared:
            return False
        prompt.table, prompt.done, prompt.waits_for = ahead.table[: shared // self._pool.page], shared, None
        self._pool.hold(prompt.table)
        return True

    def _passage(self, pieces: Sequence[tuple[_Prompt, int, int]], ends: list[tuple[int, int]]) -> Passage:
        pool = self._pool
        for prompt, begin, end in pieces:
            for position in range(begin, end):
                pool.room(prompt.table, position)
        pool.settle()
        tables = np.full((len(pieces), max(len(p.table) for p, _, _ in pieces)), BLANK, np.int32)
        for row, (prompt, _, _) in enumerate(pieces):
            tables[row, : len(prompt.table)] = prompt.table
        counts = [end - begin for _, begin, end in pieces]
        on: dict[str, Any] = {"device": pool.device, "non_blocking": True}
        self._tables = torch.from_numpy(tables).to(**on)
        self._lengths = torch.tensor([end for _, _, end in pieces], dtype=torch.int32).to(**on)
        self._starts = torch.from_numpy(np.cumsum([0, *counts]).astype(np.int32)).to(**on)
        self._most, self._longest = max(counts), max(end for _, _, end in pieces)
        slots = np.concatenate([pool.slots(prompt.table, begin, end) for prompt, begin, end in pieces])
        self._slots = torch.from_numpy(slots).to(**on)
        self.computed += len(slots)
        return Passage(
            [token for prompt, begin, end in pieces for token in prompt.tokens[begin:end]],
            torch.from_numpy(np.concatenate([np.arange(begin, end) for _, begin, end in pieces])).to(**on),
            ends,
        )

    def __call__(self, layer: int, query: Tensor, key: Tensor, value: Tensor, scoring: Scoring = PLAIN) -> Tensor:
        """Keep the new keys and values, and attend to all before; shapes as in ``model.blocks.Attention``, B = 1."""
        from torch.nn.attention.varlen import varlen_attn_out

        q, k, v = (x[0].transpose(0, 1).contiguous() for x in (query, key, value))
        keys, values = self._pool.data[layer]
        keys.flatten(0, 1).index_copy_(0, self._slots, k)
        values.flatten(0, 1).index_copy_(0, self._slots, v)
        how = scoring.scaled(self._pool.shape.head_dim).within(self._longest)
        out = torch.empty_like(q)
        varlen_attn_out(
            out,
            q,
            keys,
            values,
            self._starts,
            None,
            self._most,
            self._longest,
            scale=how.scale,
            window_size=(-1 if how.window is None else how.window - 1, 0),
            enable_gqa=True,
            seqused_k=self._lengths,
            block_table=self._tables,
            num_splits=1,
        )
        return out[None]

    def segments(self) -> list[Run]:
        """A run for each prompt, once all passages are through."""
        runs = []
        for prompt in self._prompts:
            runs.append(Run(self._pool, prompt.table, 0, len(prompt.tokens)))
            self._known[prompt.tokens] = runs[-1]
        return runs

    def runs(self, lengths: Sequence[int]) -> list[Run]:
        """Of a text of which there was a part already: the tokens that are new, as runs of these lengths."""
        (prompt,) = self._prompts
        ends = len(prompt.tokens) - sum(lengths) + np.cumsum(lengths)
        return [
            Run(self._pool, prompt.table, int(end) - count, int(end)) for end, count in zip(ends, lengths, strict=True)
        ]
