"""The merge head: turns the base's hidden state and a code into the next token's logits.

The code enters after the last transformer layer, so the base's key/value cache never depends on actions, and the
logits of all K codes at a state cost one base step and K rows of this head.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import cast

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from colasearch.model.config import LatentConfig


class MergeMLP(nn.Module):
    """M(s, c) = W_down[SiLU(W_gate [s; c]) * W_up [s; c]], with W_gate and W_up split into a state and a code half.

    The split costs nothing and lets the state half be computed once for all codes.
    """

    def __init__(self, width: int, ffn: int) -> None:
        super().__init__()
        self.gate_state = nn.Linear(width, ffn, bias=False)
        self.gate_code = nn.Linear(width, ffn, bias=False)
        self.up_state = nn.Linear(width, ffn, bias=False)
        self.up_code = nn.Linear(width, ffn, bias=False)
        self.down = nn.Linear(ffn, width, bias=False)
        for linear in (self.gate_state, self.gate_code, self.up_state, self.up_code):
            nn.init.normal_(linear.weight, std=math.sqrt(1 / (5 * width)))
        nn.init.normal_(self.down.weight, std=1 / (math.sqrt(ffn) * 4))

    def forward(self, state: Tensor, code: Tensor, which: Tensor | None = None) -> Tensor:
        """Change of the state; ``state`` and ``code`` broadcast against each other over their leading axes.

        With ``which``, integers, ``code`` is the codebook ``[K, D]``, and ``code[which]`` is meant: the code halves are
        computed once for each code.
        """
        gate_code, up_code = self.gate_code(code), self.up_code(code)
        if which is not None:
            gate_code, up_code = gate_code[which], up_code[which]
        gate = self.gate_state(state) + gate_code
        up = self.up_state(state) + up_code
        return cast(Tensor, self.down(F.silu(gate) * up))


class MergeHead(nn.Module):
    """s_0 = e, s_k = s_{k-1} + M_k(s_{k-1}, c); then one of two output forms (cola-spec section 1)."""

    def __init__(self, config: LatentConfig) -> None:
        super().__init__()
        self.output_form = config.output_form
        self.layers = nn.ModuleList(MergeMLP(config.hidden_size, config.merge_ffn) for _ in range(config.merge_layers))

    def merge(
        self,
        hidden: Tensor,
        code_vectors: Tensor,
        final_norm: Callable[[Tensor], Tensor],
        which: Tensor | None = None,
    ) -> Tensor:
        """Head input ``[..., D]`` for hidden states and code vectors (or rows ``which`` of them) that broadcast.

        Multiply by the base's output head to get logits. ``final_norm`` is the base's own final norm; only the
        ``subtractive`` form uses it.
        """
        state = hidden
        for layer in self.layers:
            state = state + layer(state, code_vectors, which)
        if self.output_form == "subtractive":
            return final_norm(state) - hidden
        return state

    def merge_some(
        self, hidden: Tensor, codebook: Tensor, codes: Tensor, final_norm: Callable[[Tensor], Tensor]
    ) -> Tensor:
        """Head inputs ``[B, M, D]`` of M codes ``[B, M]`` at each of the states ``hidden`` ``[B, D]``."""
        return self.merge(hidden[:, None], codebook, final_norm, codes)

    def merge_all(self, hidden: Tensor, codebook: Tensor, final_norm: Callable[[Tensor], Tensor]) -> Tensor:
        """Head inputs ``[B, K, D]`` of every code at each of the states ``hidden`` ``[B, D]``."""
        return self.merge(hidden[:, None], codebook[None], final_norm)


def mixture_log_probs(code_log_probs: Tensor, token_log_probs: Tensor) -> Tensor:
    """Log of the mixture sum_a pi(a) WM(x given a): ``[B, K]`` and ``[B, K, V]`` to ``[B, V]``."""
    return torch.logsumexp(code_log_probs[..., None] + token_log_probs, dim=-2)
