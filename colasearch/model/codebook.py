"""The codebook: K vectors of the base's width, one for each latent action."""

from __future__ import annotations

import math

import torch
import torch.nn.functional as F
from torch import Tensor, nn


class Codebook(nn.Module):
    """Vectors ``weight`` ``[K, D]``. Codes are assigned by the IDM's scores, not by nearest vector: this is no VQ."""

    def __init__(self, num_codes: int, width: int) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.empty(num_codes, width))
        nn.init.normal_(self.weight, std=math.sqrt(2 / (5 * width)))

    def forward(self, codes: Tensor) -> Tensor:
        """Vectors ``[..., D]`` of integer codes ``[...]``."""
        return F.embedding(codes, self.weight)

    def mix(self, weights: Tensor) -> Tensor:
        """Weighted sum ``[..., D]`` of the vectors under ``weights`` ``[..., K]`` (a one-hot gives one vector)."""
        return weights @ self.weight


def straight_through_gumbel(
    scores: Tensor, temperature: float, generator: torch.Generator | None = None
) -> tuple[Tensor, Tensor]:
    """Sample a one-hot action whose gradient is that of the soft sample (cola-spec section 2.1).

    Args:
        scores: ``[..., K]`` unnormalised log-probabilities.
        temperature: The published training uses 2.0.
        generator: Source of the Gumbel noise, on the scores' device.

    Returns:
        ``(action, soft)``, both ``[..., K]``: the straight-through one-hot and the soft sample it came from.
    """
    uniform = torch.rand(scores.shape, generator=generator, device=scores.device, dtype=torch.float32)
    gumbel = -torch.log(-torch.log(uniform.clamp(1e-10, 1 - 1e-7)))
    soft = torch.softmax((scores.float() + gumbel) / temperature, dim=-1)
    hard = F.one_hot(soft.argmax(-1), scores.shape[-1]).to(soft.dtype)
    return hard + soft - soft.detach(), soft
