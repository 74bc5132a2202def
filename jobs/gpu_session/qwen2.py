"""A Qwen2 without transformers: a forward pass over plain tensors, and a static cache of keys and values."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor


@dataclass(slots=True)
class Shape:
    """Of a Qwen2 model."""

    layers: int
    width: int
    heads: int
    kv_heads: int
    head_dim: int
    theta: float
    eps: float


class Qwen2:
    """A frozen Qwen2 as plain tensors: whole texts, and one more token of many rows against a static cache.

    The learners take it for a ``BaseModel``: they ask for logits, the final norm, device and element type.
    """

    autocast = False

    def __init__(self, weights: dict[str, Tensor], shape: Shape) -> None:
        self.w, self.shape = weights, shape
        for layer in range(shape.layers):
            p = f"model.layers.{layer}.self_attn."
            for kind in ("weight", "bias"):
                weights[f"{p}qkv.{kind}"] = torch.cat([weights.pop(f"{p}{n}_proj.{kind}") for n in "qkv"])
            p = f"model.layers.{layer}.mlp."
            weights[f"{p}both.weight"] = torch.cat([weights.pop(f"{p}{n}_proj.weight") for n in ("gate", "up")])
        self.device = weights["model.norm.weight"].device
        self.dtype = weights["model.norm.weight"].dtype

    def norm(self, x: Tensor, name: str) -> Tensor:
        """RMS norm in float32."""
        y = x.float()
        y = y * torch.rsqrt(y.pow(2).mean(-1, keepdim=True) + self.shape.eps)
        return y.to(x.dtype) * self.w[name]

    def angles(self, positions: Tensor) -> tuple[Tensor, Tensor]:
        """Cosines and sines ``[B, 1, T, head_dim]``."""
        half = torch.arange(0, self.shape.head_dim, 2, device=positions.device).float() / self.shape.head_dim
        angles = positions[..., None].float() * torch.pow(self.shape.theta, -half)
        angles = torch.cat([angles, angles], -1)[:, None]
        return angles.cos(), angles.sin()

    def forward(self, tokens: Tensor, positions: Tensor, attend: Callable[..., Tensor]) -> Tensor:
        """Hidden states ``[B, T, D]`` after the final norm; ``attend(layer, q, k, v)`` gives ``[B, T, heads, hd]``."""
        s = self.shape
        x = F.embedding(tokens, self.w["model.embed_tokens.weight"])
        cos, sin = (a.to(x.dtype) for a in self.angles(positions))
        for layer in range(s.layers):
            p = f"model.layers.{layer}."
            y = self.norm(x, p + "input_layernorm.weight")
            y = F.linear(y, self.w[p + "self_attn.qkv.weight"], self.w[p + "self_attn.qkv.bias"])
            q, k, v = y.split([s.heads * s.head_dim, s.kv_heads * s.head_dim, s.kv_heads * s.head_dim], -1)
            q, k, v = (t.view(*t.shape[:2], -1, s.head_dim).transpose(1, 2) for t in (q, k, v))
            q, k = turned(q, cos, sin), turned(k, cos, sin)
            a = attend(layer, q, k, v)
            x = x + F.linear(a.reshape(*x.shape[:2], -1), self.w[p + "self_attn.o_proj.weight"])
            y = self.norm(x, p + "post_attention_layernorm.weight")
            gate, up = F.linear(y, self.w[p + "mlp.both.weight"]).chunk(2, -1)
            x = x + F.linear(F.silu(gate) * up, self.w[p + "mlp.down_proj.weight"])
        return self.norm(x, "model.norm.weight")

    @torch.inference_mode()
    def hidden(self, tokens: Tensor, keep: Callable[[int, Tensor, Tensor], None] | None = None) -> Tensor:
        """Hidden states of whole texts ``[B, T]``, padded on the right."""

        def attend(layer: int, q: Tensor, k: Tensor, v: Tensor) -> Tensor:
            if keep is not None:
                keep(layer, k, v)
            return causal(q, k, v)

        positions = torch.arange(tokens.shape[1], device=tokens.device)[None]
        return self.forward(tokens, positions, attend)

    def logits(self, states: Tensor) -> Tensor:
        """Float32 logits of head inputs."""
        return F.linear(states.to(self.dtype), self.w["lm_head.weight"]).float()

    def head(self, states: Tensor) -> Tensor:
        """Logits in the model's own element type."""
        return F.linear(states.to(self.dtype), self.w["lm_head.weight"])

    def apply_final_norm(self, states: Tensor) -> Tensor:
        """The base's final norm."""
        return self.norm(states, "model.norm.weight")


def turned(x: Tensor, cos: Tensor, sin: Tensor) -> Tensor:
    """Rotary embedding."""
    left, right = x.chunk(2, -1)
    return x * cos + torch.cat([-right, left], -1) * sin


def causal(q: Tensor, k: Tensor, v: Tensor) -> Tensor:
    """Causal attention of whole texts."""
    group = q.shape[1] // k.shape[1]
    k, v = k.repeat_interleave(group, 1), v.repeat_interleave(group, 1)
    return F.scaled_dot_product_attention(q, k, v, is_causal=True).transpose(1, 2)


class Cache:
    """Keys and values of rows, ``[layers, rows, kv heads, columns, head_dim]``, written where each row is."""

    def __init__(self, layers: int, rows: int, kv_heads: int, columns: int, head_dim: int, like: Tensor) -> None:
        self.k, self.v = (like.new_zeros(layers, rows, kv_heads, columns, head_dim) for _ in range(2))
        self.every = torch.arange(rows, device=like.device)
        self.columns = torch.arange(columns, device=like.device)

    def put(self, layer: int, rows: Tensor, k: Tensor, v: Tensor) -> None:
        """Keys and values ``[R, kv, T, hd]`` of whole prompts."""
        self.k[layer, rows, :, : k.shape[2]] = k
        self.v[layer, rows, :, : k.shape[2]] = v

    def step(self, position_B: Tensor) -> Callable[..., Tensor]:
        """Attention of one more token of every row, at ``position_B``."""
        seen = (self.columns[None] <= position_B[:, None])[:, None, None]

        def attend(layer: int, q: Tensor, k: Tensor, v: Tensor) -> Tensor:
            self.k[layer, self.every, :, position_B] = k[:, :, 0]
            self.v[layer, self.every, :, position_B] = v[:, :, 0]
            rows, heads, _, width = q.shape
            # The query heads of a group as so many queries: no key is repeated.
            q = q.reshape(rows, k.shape[1], heads // k.shape[1], width)
            out = F.scaled_dot_product_attention(q, self.k[layer], self.v[layer], attn_mask=seen)
            return out.reshape(rows, 1, heads, width)

        return attend
