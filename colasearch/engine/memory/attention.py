"""Attention as transformers calls it, handed to whoever holds the keys and values."""

from __future__ import annotations

from typing import Any

from torch import Tensor
from transformers import AttentionInterface

from colasearch.engine.memory.interfaces import Attention
from colasearch.errors import PrerequisiteError

ATTENTION_NAME = "colasearch_rows"


def rows_attention(
    module: Any, query: Tensor, key: Tensor, value: Tensor, attention_mask: Tensor | None, **kwargs: Any
) -> tuple[Tensor, None]:
    """Attention as transformers calls it; ``kwargs["rows"]`` is whoever keeps the keys and values."""
    for name in ("softcap", "s_aux", "sliding_window"):
        if kwargs.get(name) is not None:
            raise PrerequisiteError(f"{type(module).__name__} attends with {name}, which the key/value tree lacks")
    owner: Attention = kwargs["rows"]
    return owner(int(module.layer_idx), query, key, value, kwargs.get("scaling")), None


AttentionInterface.register(ATTENTION_NAME, rows_attention)
