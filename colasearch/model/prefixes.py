"""What a process reward model has read is kept, so that a child in a tree is read from where its parent ended.

Texts are kept in blocks of ``BLOCK`` tokens, each under all that stands before it: siblings share the blocks of their
parent, and a block serves every text that begins so. Those that were not used for longest go first. It is the prefix
cache of serving engines (Kwon et al., arXiv 2309.06180) for a model that only reads.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import count
from typing import Any

import torch
from torch import Tensor

BLOCK = 16
Key = tuple[int, tuple[int, ...]]
"""The number of the block before (0: none), and a block's tokens."""


@dataclass(slots=True)
class Block:
    """``BLOCK`` tokens of a text.

    Attributes:
        number: Its own; never used again.
        states: Keys and values of all layers, ``[L, 2, H, BLOCK, D]``.
        logits: What the model says at each token, ``[BLOCK, C]``.
    """

    number: int
    states: Tensor
    logits: Tensor

    @property
    def size(self) -> int:
        """Bytes."""
        return self.states.nbytes + self.logits.nbytes


class Prefixes:
    """Reads texts with a model of transformers and keeps what it has read.

    Attributes:
        computed: Tokens that went through the model.
        reused: Tokens that were kept from before.
        size: Bytes that are kept.
    """

    def __init__(self, model: Any, most: int, columns: Sequence[int] | None = None) -> None:
        """With a model to read with.

        Args:
            model: Its result has ``logits`` ``[B, T, C]``, of tokens and all that stands before them.
            most: Bytes to keep.
            columns: Logits that are wanted; None: all.
        """
        self.model, self.most, self.columns = model, most, columns
        self.computed = self.reused = self.size = 0
        self._blocks: OrderedDict[Key, Block] = OrderedDict()
        self._numbers = count(1)

    @torch.inference_mode()
    def logits(self, rows: Sequence[Sequence[int]], pad: int) -> list[Tensor]:
        """What the model says at each token of each row, ``[T, C]`` in float32 on the CPU; one pass for all rows."""
        known = [self._known(row) for row in rows]
        begins = [BLOCK * len(blocks) for blocks in known]
        before, length = max(begins), max(len(row) - begin for row, begin in zip(rows, begins, strict=True))
        tokens = torch.full((len(rows), length), pad)
        mask = torch.zeros(len(rows), before + length, dtype=torch.long)
        for i, (row, begin) in enumerate(zip(rows, begins, strict=True)):
            new = len(row) - begin
            tokens[i, :new] = torch.tensor(row[begin:])
            mask[i, before - begin : before + new] = 1
            self.computed += new
            self.reused += begin
        places = torch.tensor(begins)[:, None] + torch.arange(length)
        device = self.model.device
        cache = self._cache(known, before)
        out = self.model(
            input_ids=tokens.to(device),
            attention_mask=mask.to(device),
            position_ids=places.to(device),
            past_key_values=cache,
            use_cache=True,
        ).logits
        said = (out if self.columns is None else out[..., list(self.columns)]).float().cpu()
        found = [
            torch.cat([*(block.logits for block in blocks), said[i, : len(rows[i]) - begins[i]]])
            for i, blocks in enumerate(known)
        ]
        self._keep(rows, known, cache, before, found)
        return found

    def unread(self, row: Sequence[int]) -> int:
        """How many tokens of ``row`` would go through the model."""
        return len(row) - BLOCK * len(self._known(row))

    def _known(self, row: Sequence[int]) -> list[Block]:
        """The blocks that ``row`` begins with, but for its last token, which is always read."""
        found: list[Block] = []
        number = 0
        for begin in range(0, len(row) - BLOCK, BLOCK):
            key = (number, tuple(row[begin : begin + BLOCK]))
            if (block := self._blocks.get(key)) is None:
                break
            self._blocks.move_to_end(key)
            found.append(block)
            number = block.number
        return found

    def _cache(self, known: Sequence[Sequence[Block]], before: int) -> Any:
        """Keys and values of what is known, which ends at place ``before`` in each row."""
        from transformers import DynamicCache

        cache = DynamicCache()
        if not before:
            return cache
        some = next(blocks[0].states for blocks in known if blocks)
        layers, two, heads, _, width = some.shape
        states = some.new_zeros(layers, two, len(known), heads, before, width)
        for i, blocks in enumerate(known):
            if blocks:
                begin = before - BLOCK * len(blocks)
                torch.cat([block.states for block in blocks], dim=3, out=states[:, :, i, :, begin:])
        for layer, (keys, values) in enumerate(states):
            cache.update(keys, values, layer)
        return cache

    def _keep(
        self,
        rows: Sequence[Sequence[int]],
        known: Sequence[Sequence[Block]],
        cache: Any,
        before: int,
        logits: Sequence[Tensor],
    ) -> None:
        states = torch.stack([torch.stack([layer.keys, layer.values]) for layer in cache.layers])[..., before:, :]
        for i, (row, blocks) in enumerate(zip(rows, known, strict=True)):
            number = blocks[-1].number if blocks else 0
            first = BLOCK * len(blocks)
            for begin in range(first, len(row) - BLOCK + 1, BLOCK):
                key = (number, tuple(row[begin : begin + BLOCK]))
                block = self._blocks.get(key)
                if block is None:
                    part = states[:, :, i, :, begin - first : begin - first + BLOCK].clone()
                    block = Block(next(self._numbers), part, logits[i][begin : begin + BLOCK].clone())
                    self._blocks[key] = block
                    self.size += block.size
                number = block.number
        while self.size > self.most and self._blocks:
            self.size -= self._blocks.popitem(last=False)[1].size


def can_be_read_in_parts(model: Any) -> bool:
    """Whether a text that is read in two parts is read as when it is read whole.

    Not so where a model looks ahead, as encoders do, keeps something else than keys and values, or forgets what is far
    behind, which a short text does not show: that its configuration says.
    """
    config = model.config.get_text_config()
    kinds = set(getattr(config, "layer_types", None) or ["full_attention"])
    window = getattr(config, "sliding_window", None) and getattr(config, "use_sliding_window", True)
    if kinds != {"full_attention"} or (window and not getattr(config, "layer_types", None)):
        return False
    if any(getattr(module, "is_causal", True) is False for module in model.modules()):
        return False
    row = [1 + i % min(50, int(config.vocab_size) - 1) for i in range(2 * BLOCK + 5)]
    trial = Prefixes(model, 1 << 40)
    try:
        with torch.inference_mode():
            whole = model(input_ids=torch.tensor([row], device=model.device), use_cache=False).logits[0].float().cpu()
        trial.logits([row[: BLOCK + 3]], 0)
        (parts,) = trial.logits([row], 0)
    except (AttributeError, TypeError, ValueError, RuntimeError):
        return False
    # Half of the digits that numbers of this kind have: roundings of many layers, and no more.
    allowed = torch.finfo(model.dtype).eps ** 0.5 * float(whole.abs().max())
    return trial.reused == BLOCK and float((whole - parts).abs().max()) <= allowed
