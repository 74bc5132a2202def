"""Heads that predict the terminal reward: of a state (value head) and of a state and a code (Q head)."""

from __future__ import annotations

from typing import cast

import torch
import torch.nn.functional as F
from torch import Tensor, nn


class ValueHead(nn.Module):
    """Expected terminal reward in (0, 1) of a state, from the base's hidden state at its last token."""

    def __init__(self, width: int, hidden: int) -> None:
        super().__init__()
        self.up = nn.Linear(width, hidden)
        self.out = nn.Linear(hidden, 1)

    def forward(self, state: Tensor) -> Tensor:
        """Values ``[...]`` of hidden states ``[..., D]``."""
        return torch.sigmoid(cast(Tensor, self.out(F.silu(self.up(state))))[..., 0].float())


class QHead(nn.Module):
    """Expected terminal reward in (0, 1) of taking each code in a state."""

    def __init__(self, width: int, num_codes: int) -> None:
        super().__init__()
        self.out = nn.Linear(width, num_codes)

    def forward(self, state: Tensor) -> Tensor:
        """Values ``[..., K]`` of hidden states ``[..., D]``."""
        return torch.sigmoid(cast(Tensor, self.out(state)).float())
