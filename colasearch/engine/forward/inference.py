"""The copy of a model that the engine runs: packed linear layers, and attention over the engine's own rows.

The copy shares its parameters with the model it was made from, which stays as it was and can go on being trained.
"""

from __future__ import annotations

import warnings
import weakref
from dataclasses import dataclass, replace
from typing import Any, cast

import torch
from torch import Tensor, nn
from transformers import AttentionInterface

from colasearch.engine.forward.fused import fuse
from colasearch.engine.memory.attention import ATTENTION_NAME, OnOneDevice, held_by, kept_dtype, rows_attention
from colasearch.engine.memory.choose import Panels
from colasearch.engine.memory.interfaces import PLAIN, Attention, Scoring
from colasearch.engine.memory.shape import KVShape
from colasearch.errors import InputError, PrerequisiteError
from colasearch.model.latent_lm import LatentLM
from colasearch.model.output import own_outputs
from colasearch.model.packed import inference_copy
from colasearch.model.spreading import is_spread

ENGINES = ("auto", "tree", "paged", "whole")
PROBE = (1, 2, 3, 4, 5)
"""Tokens that a new model is tried with."""


@dataclass(slots=True)
class Inference:
    """A model ready to run.

    Attributes:
        lm: The copy.
        shape: Shape of its keys and values; None when each step has to encode whole texts.
        head_weight: Output head ``[V, D]`` for single rows of it.
        head_bias: Its bias ``[V]``, if it has one.
    """

    lm: LatentLM
    shape: KVShape | None
    head_weight: Tensor
    head_bias: Tensor | None

    def hidden(self, tokens: Tensor, positions: Tensor, rows: Attention) -> Tensor:
        """Hidden states ``[1, N, D]`` of tokens ``[1, N]`` of different rows side by side."""
        base = self.lm.base
        with held_by(OnOneDevice(rows, base.device) if is_spread(base.model) else rows):
            out = base.model.base_model(input_ids=tokens, position_ids=positions, use_cache=False)
        return cast(Tensor, out.last_hidden_state).to(base.device)


_ready: weakref.WeakKeyDictionary[LatentLM, tuple[object, str, Inference]] = weakref.WeakKeyDictionary()


def inference_of(lm: LatentLM, engine: str = "auto") -> Inference:
    """The inference copy of ``lm``: the last one made, unless its weights have changed since.

    Args:
        lm: The model.
        engine: ``tree`` keeps keys and values in a tree, ``paged`` too, but in pages of one pool; ``whole`` encodes
            whole texts at each step (slow, any architecture); ``auto`` takes ``tree`` where the architecture allows
            it, else ``whole`` with a warning.

    Raises:
        InputError: Another engine.
        PrerequisiteError: ``tree`` or ``paged`` was asked for and the architecture cannot be served.
    """
    if engine not in ENGINES:
        raise InputError(f"engine is {engine!r}; it must be one of {', '.join(ENGINES)}")
    version = _version(lm)
    kept = _ready.get(lm)
    if kept is not None and kept[:2] == (version, engine):
        return kept[2]
    inference = _make(lm, engine)
    _ready[lm] = (version, engine, inference)
    return inference


def _version(lm: LatentLM) -> object:
    """Changes whenever a parameter is changed in place or replaced."""
    modules: list[nn.Module] = [lm.base.model]
    if lm.latents is not None:
        modules.append(lm.latents)
    # Tensors made in inference mode count no versions; nothing trains them.
    versions = ((id(p), 0 if p.is_inference() else p._version) for module in modules for p in module.parameters())
    return (lm.base.packed, lm.base.compiled, *versions)


def _make(lm: LatentLM, engine: str) -> Inference:
    shape: KVShape | None = None
    if engine != "whole":
        try:
            shape = KVShape.of(lm)
            inference = _copy(lm, shape)
            _probe(lm, inference)
            return inference
        except PrerequisiteError as error:
            if engine in ("tree", "paged"):
                raise
            warnings.warn(f"{error}; each step encodes whole texts instead, which is slow", stacklevel=4)
    return _copy(lm, None)


@torch.no_grad()
def _copy(lm: LatentLM, shape: KVShape | None) -> Inference:
    base = lm.base
    model, latents = base.model, lm.latents
    head = cast(nn.Linear, base.head)
    if base.device.type == "cpu" and base.dtype == torch.float32:
        model = inference_copy(model, base.packed)
        latents = None if latents is None else inference_copy(latents, base.packed)
    elif shape is not None:
        model = inference_copy(model, base.packed, linears=False)
    if shape is not None:
        model.config._attn_implementation = ATTENTION_NAME
        if base.device.type != "cpu":
            fuse(model)
        if base.compiled:
            _compile(model)
    copy = LatentLM(lm.name, replace(base, model=model), latents)
    return Inference(copy, shape, head.weight.detach(), None if head.bias is None else head.bias.detach())


def _compile(model: Any) -> None:
    """Compile everything between attentions; the attentions themselves keep keys and values, which is Python's work."""
    AttentionInterface.register(ATTENTION_NAME, torch.compiler.disable(rows_attention))  # type: ignore[no-untyped-call]
    model.base_model.forward = torch.compile(model.base_model.forward, dynamic=True)


class _Windows:
    """Passes on to ``owner``, and notes whether a layer ever asked for a window."""

    owner: Attention

    def __init__(self) -> None:
        self.seen = False

    def __call__(self, layer: int, query: Tensor, key: Tensor, value: Tensor, scoring: Scoring = PLAIN) -> Tensor:
        self.seen = self.seen or scoring.window is not None
        return self.owner(layer, query, key, value, scoring)


def _layer_kinds(model: Any) -> Any:
    return getattr(model.config, "layer_types", None)


@torch.inference_mode()
def _probe(lm: LatentLM, inference: Inference) -> None:
    """Try the copy on a few tokens against the model itself: an architecture may attend in ways of its own.

    Raises:
        PrerequisiteError: It does not reach our attention, or gives other hidden states or logits.
    """
    base, shape = lm.base, inference.shape
    assert shape is not None
    tokens = torch.tensor([PROBE], device=base.device) % base.vocab_size
    positions = torch.arange(len(PROBE), device=base.device)[None]
    name = type(base.model).__name__
    advice = "its attention cannot be served from a key/value tree; use --engine whole"
    try:
        windows = _Windows()
        # Whatever the engine: the question is how the model attends, and a pool would take a GPU's memory.
        alone = KVShape(shape.base_layers, 0, shape.heads, shape.head_dim)
        kept = Panels(alone, kept_dtype(base.dtype, base.device), base.device)
        prompt = windows.owner = kept.prompts([PROBE[:-1]])
        inference.hidden(tokens[:, :-1], positions[:, :-1], windows)
        part = kept.rows()
        part.enter(None, prompt.segments())
        ours = inference.hidden(tokens[:, -1:], part.begin()[None], part)[0, -1].float()
    except (KeyError, TypeError, RuntimeError, AttributeError) as error:
        raise PrerequisiteError(f"{name}: {advice} ({type(error).__name__}: {error})") from None
    if getattr(base.model.config, "sliding_window", None) and not windows.seen and not _layer_kinds(base.model):
        raise PrerequisiteError(f"{name}: {advice} (its config has a sliding_window that its layers do not speak of)")
    hidden, logits = own_outputs(base.model, tokens)
    theirs = hidden[0, -1].float()
    if not bool(theirs.isfinite().all()):
        return  # broken weights are no matter of architecture; rows with NaN stop one by one
    slack = 0.02 if base.dtype == torch.float32 else 0.2
    for what, mine, own in (
        ("hidden states", ours, theirs),
        ("logits", inference.lm.base.logits(ours.to(base.dtype)), logits[0, -1]),
    ):
        difference = float((mine - own).norm() / own.norm().clamp_min(1e-9))
        if not difference <= slack:
            raise PrerequisiteError(f"{name}: {advice} ({what} differ by {difference:.1%})")
