"""The policy over latent actions, and the distribution that sampling from it uses."""

from __future__ import annotations

import torch
from torch import Tensor

from colasearch.model.blocks import BlockStack
from colasearch.model.config import LatentConfig


class Policy(BlockStack):
    """pi(code given x_1..x_t): causal blocks on the base's hidden states (cola-spec section 1)."""

    def __init__(self, config: LatentConfig) -> None:
        super().__init__(
            layers=config.policy_layers,
            width=config.hidden_size,
            heads=config.num_heads,
            kv_heads=config.num_kv_heads,
            head_dim=config.head_dim,
            ffn=config.policy_ffn,
            eps=config.norm_eps,
            theta=config.rope_theta,
            scaling=config.rope_scaling,
            outputs=config.num_codes,
        )


DRAWN_TOGETHER = 16
"""Distributions over a whole vocabulary whose sums are held in float64 at a time."""


def sampling_log_probs(
    logits: Tensor, temperature: float = 1.0, top_k: int = 0, kept: Tensor | None = None, top_p: float = 1.0
) -> Tensor:
    """Log-probabilities ``[..., K]`` of exactly the distribution that ``sample_codes`` draws from.

    Args:
        logits: ``[..., K]`` policy scores.
        temperature: > 0.
        top_k: Keep the k most probable codes; 0 keeps all.
        kept: ``[..., K]``, true at the codes to keep, in place of ``top_k``: those that a sampler kept, whose rounding
            may have been another.
        top_p: Of those, keep the fewest most probable ones whose probabilities reach this sum, in (0, 1]; 1 keeps all.
            Scores that tie with the last one kept are kept.
    """
    scaled = logits.float() / temperature
    if kept is not None:
        scaled = scaled.masked_fill(~kept, float("-inf"))
    elif 0 < top_k < scaled.shape[-1] or top_p < 1:
        best = scaled.topk(min(top_k, scaled.shape[-1]) or scaled.shape[-1], dim=-1).values
        scaled = scaled.masked_fill(scaled < _floor(best, top_p), float("-inf"))
    return torch.log_softmax(scaled, dim=-1)


def _floor(best: Tensor, top_p: float) -> Tensor:
    """The least score ``[..., 1]`` to keep of ``best`` ``[..., k]``, which are in descending order."""
    if top_p >= 1:
        return best[..., -1:]
    shares = torch.softmax(best, dim=-1)
    before = shares.cumsum(-1) - shares
    count = (before < top_p).sum(-1, keepdim=True).clamp_min(1)
    return best.gather(-1, count - 1)


def sample_codes(log_probs: Tensor, uniform: Tensor) -> Tensor:
    """Draw codes ``[B]`` by inverting the cumulative distribution at ``uniform`` ``[B]`` in [0, 1).

    The caller brings the randomness, so that a draw depends on its own seed and never on its batch-mates.
    """
    return _drawn(log_probs, uniform[:, None])[:, 0]


def sample_several(log_probs_BK: Tensor, uniforms_BA: Tensor) -> Tensor:
    """Draw A times from each of B distributions: ``[B, A]``, what ``sample_codes`` gives one by one.

    Where ``sampling_log_probs`` kept few of K (a top-k of a vocabulary), only these are looked at, in their order:
    what was not kept adds nothing to the sums. Else, and always on a GPU, it goes ``DRAWN_TOGETHER`` distributions at a
    time. So memory depends neither on A nor, beyond that, on B.
    """
    # Where a look at a number would wait for the device, nothing is left out.
    on_host = log_probs_BK.device.type == "cpu"
    width = int((log_probs_BK > float("-inf")).sum(-1).amax()) if on_host else 0
    if 0 < width <= log_probs_BK.shape[-1] // 2:
        kept_BW = log_probs_BK.topk(width, sorted=False).indices.sort(-1).values
        places = _drawn(log_probs_BK.gather(-1, kept_BW), uniforms_BA)
        return kept_BW.gather(-1, places)
    starts = range(0, len(log_probs_BK), DRAWN_TOGETHER)
    parts = [slice(start, start + DRAWN_TOGETHER) for start in starts]
    return torch.cat([_drawn(log_probs_BK[part], uniforms_BA[part]) for part in parts])


def _drawn(log_probs_BK: Tensor, uniforms_BA: Tensor) -> Tensor:
    cumulative_BK = log_probs_BK.double().exp().cumsum(-1)
    cumulative_BK = cumulative_BK / cumulative_BK[..., -1:]
    found_BA = torch.searchsorted(cumulative_BK, uniforms_BA.double().contiguous(), right=True)
    return found_BA.clamp_max(log_probs_BK.shape[-1] - 1)
