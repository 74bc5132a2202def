"""Attention as transformers calls it, handed to whoever holds the keys and values."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import replace
from typing import Any

import torch
from torch import Tensor
from transformers import AttentionInterface

from colasearch.engine.memory.interfaces import PLAIN, Attention, Scoring
from colasearch.errors import PrerequisiteError

ATTENTION_NAME = "colasearch_rows"
UNKNOWN = ("sinks", "bias", "position_bias", "block_indices")
"""Arguments by which an architecture asks for more than ``Scoring`` says."""
_OWNER: ContextVar[Attention] = ContextVar("colasearch_rows")


@contextmanager
def held_by(owner: Attention) -> Iterator[None]:
    """Within, layers attend to the keys and values of ``owner``.

    No argument says so: not every architecture hands on to its layers what it is called with.
    """
    token = _OWNER.set(owner)
    try:
        yield
    finally:
        _OWNER.reset(token)


def owner() -> Attention:
    """Whose keys and values layers attend to now."""
    return _OWNER.get()


class OnOneDevice:
    """Keys and values on ``device``, of layers that stand on several (``model/spreading.py``)."""

    def __init__(self, holder: Attention, device: torch.device) -> None:
        self._holder, self._device = holder, device

    def __call__(self, layer: int, query: Tensor, key: Tensor, value: Tensor, scoring: Scoring = PLAIN) -> Tensor:
        """Attend there, and bring the result back."""
        if scoring.sinks is not None:
            scoring = replace(scoring, sinks=scoring.sinks.to(self._device))
        found = self._holder(layer, query.to(self._device), key.to(self._device), value.to(self._device), scoring)
        return found.to(query.device)


def rows_attention(
    module: Any, query: Tensor, key: Tensor, value: Tensor, attention_mask: Tensor | None, **kwargs: Any
) -> tuple[Tensor, None]:
    """Attention as transformers calls it. The mask is our own affair: rows stand side by side as one sequence."""
    for name in UNKNOWN:
        if kwargs.get(name) is not None:
            raise PrerequisiteError(f"{type(module).__name__} attends with {name}, which the key/value tree lacks")
    layer = int(module.layer_idx)
    window = kwargs.get("sliding_window") or _declared_window(getattr(module, "config", None), layer)
    scoring = Scoring(kwargs.get("scaling"), window, kwargs.get("softcap"), kwargs.get("s_aux"))
    return owner()(layer, *as_kept(query, key, value), scoring), None


def _declared_window(config: Any, layer: int) -> int | None:
    """A layer's window where only the mask would have it (Qwen2-MoE)."""
    kinds = getattr(config, "layer_types", None)
    return config.sliding_window if kinds and kinds[layer] == "sliding_attention" else None


def kept_dtype(dtype: torch.dtype, device: torch.device) -> torch.dtype:
    """Element type of keys and values of a model with weights of ``dtype``: that of autocast, where it is on."""
    kind = device.type
    on = torch.amp.is_autocast_available(kind) and torch.is_autocast_enabled(kind)
    return torch.get_autocast_dtype(kind) if on else dtype


def as_kept(query: Tensor, key: Tensor, value: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """The three in ``kept_dtype``, as torch's own attention casts them under autocast."""
    dtype = kept_dtype(query.dtype, query.device)
    return query.to(dtype), key.to(dtype), value.to(dtype)


AttentionInterface.register(ATTENTION_NAME, rows_attention)
