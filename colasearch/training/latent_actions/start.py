"""How stage 1 starts: codes of about the size of the base's hidden states.

The merge head adds what it makes of a state and a code. Bases differ in the size of their states: the numbers of
Qwen2.5-0.5B's have a root mean square of 6, those of countdown-tiny 1. Beside large states a code's vector of the
published size (0.02 a number) changes a token's log-probability by thousandths, and where the base knows the text
already, as it knows its own, nothing else pulls at the merge head: the inverse dynamics model never learns to tell
codes apart (docs/latent-actions.md). Vectors half as large as the states make every code count from the first step.
"""

from __future__ import annotations

from typing import Protocol

import torch
from torch import Tensor

from colasearch.model.latent_lm import LatentModules

TRIAL_TOKENS = 32


class Encoder(Protocol):
    """What is asked of a base: hidden states of tokens."""

    @property
    def device(self) -> torch.device:
        """Where tokens go."""
        ...

    def hidden(self, tokens: Tensor) -> Tensor:
        """Hidden states ``[B, T, D]`` after the final norm, of ``tokens`` ``[B, T]``."""
        ...


@torch.no_grad()
def state_size(base: Encoder, vocabulary: int) -> float:
    """Root mean square of the numbers in the base's hidden states, from one text of tokens spread over the vocabulary.

    The final norm makes all states about equally large, so that any text will do.
    """
    tokens = torch.arange(TRIAL_TOKENS, device=base.device) * (vocabulary // TRIAL_TOKENS or 1) % vocabulary
    return float(base.hidden(tokens[None]).float().square().mean().sqrt())


@torch.no_grad()
def size_codes(modules: LatentModules, size: float) -> None:
    """Scale the codebook so that the root mean square of its numbers is ``size``; its directions stay."""
    weight = modules.codebook.weight
    weight.mul_(size / weight.float().square().mean().sqrt())
