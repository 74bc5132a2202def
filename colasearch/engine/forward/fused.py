"""Layers of a GPU's inference copy in fewer kernels: a norm in one, query, key and value in one, rotation in three.

A step of a few rows on a GPU takes as long as its kernels take to launch. transformers writes its layers as formulas,
about forty kernels each. What is put in their place here is tried on random numbers against the layer itself and left
out where it differs, so no list of architectures is kept.
"""

from __future__ import annotations

from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from colasearch.engine.memory.attention import as_kept, held_by, owner
from colasearch.engine.memory.interfaces import PLAIN, Scoring

TRIAL = 3
"""Tokens that a layer is tried with."""
PROJECTIONS = frozenset({"q_proj", "k_proj", "v_proj", "o_proj"})


class FusedNorm(nn.Module):
    """A root-mean-square norm in one kernel."""

    def __init__(self, weight: Tensor, eps: float) -> None:
        super().__init__()
        self.weight, self.eps = weight, eps

    def forward(self, x: Tensor) -> Tensor:
        """Norm over the last axis."""
        return F.rms_norm(x, self.weight.shape, self.weight, self.eps)


class Signs:
    """The sines of a pass with the sign that rotation gives to their first half, made once for all layers."""

    def __init__(self) -> None:
        self._sin: Tensor | None = None
        self._signed = torch.empty(0)

    def of(self, sin: Tensor) -> Tensor:
        """``[N, 1, head_dim]`` of sines ``[1, N, head_dim]``."""
        if self._sin is not sin:
            left, right = sin[0, :, None].chunk(2, -1)
            self._sin, self._signed = sin, torch.cat([-left, right], -1)
        return self._signed


class FusedAttention(nn.Module):
    """An attention layer with one product for query, key and value, and query and key rotated together.

    Attributes:
        own: The layer it stands for.
        layer, scoring: What that says of itself where it attends.
        signs: Shared by the layers of a model.
    """

    def __init__(self, own: Any, ours: dict[str, nn.Linear], layer: int, scoring: Scoring, signs: Signs) -> None:
        super().__init__()
        self.own, self.layer, self.scoring, self.signs = own, layer, scoring, signs
        self.weight, self.bias = _joined([ours[name] for name in ("q_proj", "k_proj", "v_proj")])
        self.sizes = [ours[name].out_features for name in ("q_proj", "k_proj", "v_proj")]
        self.head_dim = int(own.head_dim)

    def forward(
        self, hidden_states: Tensor, position_embeddings: tuple[Tensor, Tensor], **kwargs: Any
    ) -> tuple[Tensor, None]:
        """As transformers' own, for one sequence ``[1, N, D]``; returns ``[1, N, D]``."""
        own, size = self.own, self.head_dim
        queries, keys, values = self.sizes
        both, value = torch.split(F.linear(hidden_states[0], self.weight, self.bias), [queries + keys, values], -1)
        if hasattr(own, "q_norm"):
            both = self._normed(both)
        both = torch.unflatten(both, -1, (-1, size))
        if getattr(own, "use_rope", True):
            cos, sin = position_embeddings
            left, right = both.chunk(2, -1)
            both = torch.addcmul(both * cos[0, :, None], torch.cat([right, left], -1), self.signs.of(sin))
        heads = both.transpose(0, 1)[None]
        query, key = torch.split(heads, [queries // size, keys // size], 1)
        value = torch.unflatten(value, -1, (-1, size)).transpose(0, 1)[None]
        out = owner()(self.layer, *as_kept(query, key, value), self.scoring)
        return own.o_proj(out.reshape(1, len(both), queries)), None

    def _normed(self, both: Tensor) -> Tensor:
        """Query and key, each by its own norm: of a head, or of all heads together."""
        parts = torch.split(both, list(self.sizes[:2]), -1)
        norms = (self.own.q_norm, self.own.k_norm)
        if norms[0].weight.numel() == self.head_dim:
            parts = tuple(torch.unflatten(part, -1, (-1, self.head_dim)) for part in parts)
            return torch.cat([norm(part) for norm, part in zip(norms, parts, strict=True)], -2).flatten(-2)
        return torch.cat([norm(part) for norm, part in zip(norms, parts, strict=True)], -1)


def _joined(linears: list[nn.Linear]) -> tuple[Tensor, Tensor | None]:
    """Weights (and biases) of several layers as one; theirs become parts of it, so that memory holds them once."""
    weight = torch.cat([linear.weight.detach() for linear in linears])
    for linear, part in zip(linears, torch.split(weight, [one.out_features for one in linears]), strict=True):
        linear.weight.data = part
    biases = [linear.bias.detach() for linear in linears if linear.bias is not None]
    return weight, torch.cat(biases) if biases else None


@torch.no_grad()
def fuse(model: Any) -> tuple[int, int]:
    """Put fused layers into ``model``, an inference copy; returns how many norms and attentions."""
    norms, attentions, signs = 0, 0, Signs()
    for parent in list(model.modules()):
        for name, child in list(parent.named_children()):
            new = _norm_for(child) if type(child).__name__.endswith("RMSNorm") else None
            if new is not None:
                setattr(parent, name, new)
                norms += 1
    for parent in list(model.modules()):
        child = getattr(parent, "self_attn", None)
        new_attention = _attention_for(child, signs) if isinstance(child, nn.Module) else None
        if new_attention is not None:
            parent.self_attn = new_attention
            attentions += 1
    return norms, attentions


def _norm_for(module: nn.Module) -> FusedNorm | None:
    weight = getattr(module, "weight", None)
    eps = getattr(module, "variance_epsilon", getattr(module, "eps", None))
    if not isinstance(weight, Tensor) or weight.dim() != 1 or not isinstance(eps, float):
        return None
    x = _random(weight, TRIAL, len(weight))
    wanted = module(x)
    for candidate in (weight.detach(), weight.detach() + 1):  # Gemma's are kept less one
        fused = FusedNorm(candidate, eps)
        if _alike(fused(x), wanted):
            return fused
    return None


def _attention_for(module: Any, signs: Signs) -> FusedAttention | None:
    linears = {name: child for name, child in module.named_children() if type(child) is nn.Linear}
    rest = {name for name, _ in module.named_children()} - linears.keys()
    if linears.keys() != PROJECTIONS or not rest <= {"q_norm", "k_norm"} or not hasattr(module, "head_dim"):
        return None
    ins = [linears[name] for name in ("q_proj", "k_proj", "v_proj")]
    if len({linear.bias is None for linear in ins}) > 1:
        return None
    weight = linears["q_proj"].weight
    x = _random(weight, 1, TRIAL, weight.shape[1])
    angles = _random(weight, 1, TRIAL, int(module.head_dim) // 2).repeat(1, 1, 2)
    try:
        theirs = _Heard(module, x, angles)
        fused = FusedAttention(module, linears, theirs.layer, theirs.scoring, signs)
        ours = _Heard(fused, x, angles)
    except (AttributeError, LookupError, RuntimeError, TypeError, ValueError):
        return None
    alike = all(a.shape == b.shape and _alike(a, b) for a, b in zip(ours.said, theirs.said, strict=True))
    return fused if alike else None


class _Heard:
    """In place of who holds keys and values: notes what a layer says, and answers with its queries.

    Attributes:
        layer, scoring: The layer's number, and how it scores.
        said: Query, key and value, and the layer's result.
    """

    layer: int
    scoring: Scoring
    said: tuple[Tensor, ...]

    def __init__(self, attention: Any, x: Tensor, angles: Tensor) -> None:
        with held_by(self):
            out = attention(hidden_states=x, position_embeddings=(angles.cos(), angles.sin()), attention_mask=None)
        self.said = (*self.said, out[0])

    def __call__(self, layer: int, query: Tensor, key: Tensor, value: Tensor, scoring: Scoring = PLAIN) -> Tensor:
        self.layer, self.scoring, self.said = layer, scoring, (query, key, value)
        return query.transpose(1, 2)


def _random(like: Tensor, *shape: int) -> Tensor:
    numbers = torch.randn(*shape, generator=torch.Generator().manual_seed(0))
    return numbers.to(like.device, like.dtype)


def _alike(ours: Tensor, theirs: Tensor) -> bool:
    slack = 1e-5 if ours.dtype == torch.float32 else 2e-2
    return float((ours.float() - theirs.float()).norm()) <= slack * float(theirs.float().norm())
