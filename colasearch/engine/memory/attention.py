"""Attention as transformers calls it, handed to whoever holds the keys and values."""

from __future__ import annotations

from typing import Any

import torch
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
    return owner(int(module.layer_idx), *as_kept(query, key, value), kwargs.get("scaling")), None


def kept_dtype(dtype: torch.dtype, device: torch.device) -> torch.dtype:
    """Element type of keys and values of a model with weights of ``dtype``: that of autocast, where it is on."""
    kind = device.type
    return torch.get_autocast_dtype(kind) if torch.is_autocast_enabled(kind) else dtype


def as_kept(query: Tensor, key: Tensor, value: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """The three in ``kept_dtype``, as torch's own attention casts them under autocast."""
    dtype = kept_dtype(query.dtype, query.device)
    return query.to(dtype), key.to(dtype), value.to(dtype)


AttentionInterface.register(ATTENTION_NAME, rows_attention)
