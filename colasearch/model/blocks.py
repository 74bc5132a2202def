"""Llama-style transformer blocks for the inverse dynamics model and the policy.

They know nothing of tokens: they map hidden states to hidden states, with a causal mask and rotary positions. Whoever
keeps keys and values of earlier tokens brings an attention function of his own (see ``engine/memory/panels.py``).
"""

from __future__ import annotations

import functools
import json
import math
from collections.abc import Mapping
from typing import Any, Protocol, cast

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from colasearch.errors import CorruptFileError


class Attention(Protocol):
    """Attention of layer ``layer`` over whatever keys and values its owner keeps."""

    def __call__(self, layer: int, query: Tensor, key: Tensor, value: Tensor) -> Tensor:
        """Attend from ``query`` ``[B, heads, T, head_dim]``; returns ``[B, T, heads, head_dim]``.

        ``key`` and ``value`` ``[B, kv_heads, T, head_dim]`` are those of the new tokens.
        """
        ...


class RMSNorm(nn.Module):
    """Root-mean-square norm over the last axis, computed in float32."""

    def __init__(self, size: int, eps: float) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.ones(size))
        self.eps = eps

    def forward(self, x: Tensor) -> Tensor:
        """Normalise ``x`` ``[..., D]``."""
        if x.device.type != "cpu":
            return F.rms_norm(x, self.weight.shape, self.weight, self.eps)  # one kernel
        y = x.float()
        y = y * torch.rsqrt(y.pow(2).mean(-1, keepdim=True) + self.eps)
        return y.to(x.dtype) * self.weight


def rotary(
    positions: Tensor, head_dim: int, theta: float, scaling: Mapping[str, Any] | None = None
) -> tuple[Tensor, Tensor]:
    """Cosines and sines ``[B, 1, T, head_dim]`` of the rotary embedding at ``positions`` ``[B, T]``.

    ``scaling`` is what a transformers config says under ``rope_parameters`` (``rope_type`` and its numbers).
    """
    if scaling:
        frequencies, factor = _scaled(head_dim, theta, json.dumps(dict(scaling), sort_keys=True), str(positions.device))
    else:
        half = torch.arange(0, head_dim, 2, device=positions.device, dtype=torch.float32) / head_dim
        frequencies, factor = torch.pow(theta, -half), 1.0
    angles = positions[..., None].float() * frequencies
    angles = torch.cat([angles, angles], dim=-1)[:, None]
    return angles.cos() * factor, angles.sin() * factor


@functools.lru_cache(maxsize=64)
@torch.inference_mode(False)
def _scaled(head_dim: int, theta: float, scaling: str, device: str) -> tuple[Tensor, float]:
    """Inverse frequencies ``[head_dim / 2]`` and the factor of cosines and sines, as transformers computes them.

    Raises:
        CorruptFileError: transformers does not know the kind of scaling, or a number of it is missing.
    """
    from transformers import LlamaConfig
    from transformers.modeling_rope_utils import ROPE_INIT_FUNCTIONS

    given = {"rope_theta": theta, **json.loads(scaling)}
    try:
        # Lengths and widths in this config are those of no model: only the numbers of the embedding count.
        config = LlamaConfig(head_dim=head_dim, hidden_size=head_dim, num_attention_heads=1, rope_parameters=given)
        frequencies, factor = ROPE_INIT_FUNCTIONS[given["rope_type"]](config, torch.device(device))
    except (KeyError, TypeError, ValueError, ZeroDivisionError) as error:
        raise CorruptFileError(
            f"rope_scaling is {scaling}, which transformers cannot use ({type(error).__name__}: {error}); it must be "
            "what a transformers config has under rope_parameters, such as the llama3 scaling of Llama 3.1"
        ) from None
    return frequencies, float(factor)


def _rotate(x: Tensor, cos: Tensor, sin: Tensor) -> Tensor:
    left, right = x.chunk(2, dim=-1)
    return (x * cos + torch.cat([-right, left], dim=-1) * sin).to(x.dtype)


class Block(nn.Module):
    """Pre-norm attention (grouped keys and values) and a SwiGLU MLP."""

    def __init__(
        self, width: int, heads: int, kv_heads: int, head_dim: int, ffn: int, eps: float, depth: int, layer: int = 0
    ) -> None:
        super().__init__()
        self.layer = layer
        self.heads, self.kv_heads, self.head_dim = heads, kv_heads, head_dim
        self.attention_norm = RMSNorm(width, eps)
        self.q = nn.Linear(width, heads * head_dim, bias=False)
        self.k = nn.Linear(width, kv_heads * head_dim, bias=False)
        self.v = nn.Linear(width, kv_heads * head_dim, bias=False)
        self.o = nn.Linear(heads * head_dim, width, bias=False)
        self.mlp_norm = RMSNorm(width, eps)
        self.gate = nn.Linear(width, ffn, bias=False)
        self.up = nn.Linear(width, ffn, bias=False)
        self.down = nn.Linear(ffn, width, bias=False)
        for linear in (self.q, self.k, self.v, self.gate, self.up):
            nn.init.normal_(linear.weight, std=math.sqrt(2 / (5 * width)))
        for linear in (self.o, self.down):
            nn.init.normal_(linear.weight, std=1 / (math.sqrt(width) * depth))

    def forward(
        self, x: Tensor, cos: Tensor, sin: Tensor, mask: Tensor | None, attention: Attention | None = None
    ) -> Tensor:
        """Map ``x`` ``[B, T, D]``; ``mask`` is boolean ``[B, 1, T, keys]``, or None for plain causal attention.

        With ``attention``, that function sees to keys and values of earlier tokens and to masking.
        """
        batch, length, _ = x.shape
        y = self.attention_norm(x)
        q = self.q(y).view(batch, length, self.heads, self.head_dim).transpose(1, 2)
        k = self.k(y).view(batch, length, self.kv_heads, self.head_dim).transpose(1, 2)
        v = self.v(y).view(batch, length, self.kv_heads, self.head_dim).transpose(1, 2)
        q, k = _rotate(q, cos, sin), _rotate(k, cos, sin)
        if attention is not None:
            a = attention(self.layer, q, k, v)
        else:
            a = F.scaled_dot_product_attention(
                q, k, v, attn_mask=mask, is_causal=mask is None, enable_gqa=self.heads != self.kv_heads
            ).transpose(1, 2)
        x = x + self.o(a.reshape(batch, length, -1))
        y = self.mlp_norm(x)
        return cast(Tensor, x + self.down(F.silu(self.gate(y)) * self.up(y)))


class BlockStack(nn.Module):
    """Blocks, a final norm and a linear head onto the codes: the shape of both the IDM and the policy."""

    def __init__(
        self,
        *,
        layers: int,
        width: int,
        heads: int,
        kv_heads: int,
        head_dim: int,
        ffn: int,
        eps: float,
        theta: float,
        outputs: int,
        scaling: Mapping[str, Any] | None = None,
    ) -> None:
        super().__init__()
        self.theta, self.head_dim, self.scaling = theta, head_dim, scaling
        self.blocks = nn.ModuleList(
            Block(width, heads, kv_heads, head_dim, ffn, eps, max(layers, 1), i) for i in range(layers)
        )
        self.norm = RMSNorm(width, eps)
        self.head = nn.Linear(width, outputs, bias=False)
        nn.init.normal_(self.head.weight, std=math.sqrt(2 / (5 * width)))

    def forward(
        self,
        hidden: Tensor,
        positions: Tensor | None = None,
        mask: Tensor | None = None,
        attention: Attention | None = None,
    ) -> Tensor:
        """Scores ``[B, T, outputs]`` of the codes for hidden states ``[B, T, D]``.

        Args:
            hidden: The base's hidden states.
            positions: ``[B, T]`` token positions; 0..T-1 when None.
            mask: Boolean ``[B, 1, T, keys]``, true where a key may be seen; plain causal when None.
            attention: Replaces the blocks' own attention; for decoding with kept keys and values.
        """
        if positions is None:
            positions = torch.arange(hidden.shape[1], device=hidden.device)[None]
        cos, sin = rotary(positions, self.head_dim, self.theta, self.scaling)
        cos, sin = cos.to(hidden.dtype), sin.to(hidden.dtype)
        x = hidden
        for block in self.blocks:
            x = block(x, cos, sin, mask, attention)
        return cast(Tensor, self.head(self.norm(x)))
