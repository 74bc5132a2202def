"""How likely a model finds given tokens: under its base, or under the mixture sum_a pi(a) WM(x given a) of its codes.

The mixture is the distribution of the next token where the code is drawn from the policy and the token from the world
model under it. It is what a model on codes says of a text that it did not write, so it can be held against the base.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Literal

import torch
from torch import Tensor

from colasearch.model.latent_lm import LatentLM, fan_out_states
from colasearch.model.world_model import mixture_log_probs

Under = Literal["codes", "tokens"]
PASS_TOKENS = 2048
"""Most padded tokens in one pass of the base."""
HELD_NUMBERS = 32 << 20
"""Most logits held at once."""


@dataclass(frozen=True, slots=True)
class Likelihood:
    """Of one row's tokens from some place on.

    Attributes:
        log_probs_T: Natural log of each token's probability given those before it.
        greedy: Whether each of them is the most probable one.
    """

    log_probs_T: Tensor
    greedy: bool

    @property
    def total(self) -> float:
        """Of all of them together, nats."""
        return float(self.log_probs_T.double().sum())


@torch.inference_mode()
def likelihoods(
    lm: LatentLM, rows: Sequence[Sequence[int]], starts: Sequence[int], under: Under = "codes"
) -> list[Likelihood]:
    """Likelihoods of tokens, each row's from its own start on.

    Args:
        lm: The model; ``codes`` wants latent modules.
        rows: Token ids.
        starts: Place of the first token that is judged; at least 1, since something must stand before it.
        under: ``codes``: the mixture. ``tokens``: the base alone.

    Raises:
        PrerequisiteError: ``codes`` without latent modules.
    """
    if under == "codes":
        lm.require_latents()
    found: dict[int, Likelihood] = {}
    order = sorted(range(len(rows)), key=lambda i: (len(rows[i]), i))
    group: list[int] = []
    for i in [*order, -1]:
        if group and (i < 0 or len(rows[i]) * (len(group) + 1) > PASS_TOKENS):
            found.update(
                zip(group, _pass(lm, [rows[j] for j in group], [starts[j] for j in group], under), strict=True)
            )
            group = []
        group.append(i)
    return [found[i] for i in range(len(rows))]


@torch.inference_mode()
def next_token_log_probs(lm: LatentLM, states_ND: Tensor, targets_N: Tensor, scores_NK: Tensor | None) -> Tensor:
    """Log-probabilities ``[N]`` of given next tokens at given states.

    Args:
        lm: The model.
        states_ND: Hidden states of the base.
        targets_N: A token each.
        scores_NK: The policy's scores there: the mixture. None: the base alone.
    """
    log_codes_NK = None if scores_NK is None else torch.log_softmax(scores_NK.float(), dim=-1)
    step = max(1, HELD_NUMBERS // (lm.base.vocab_size * (1 if log_codes_NK is None else lm.num_codes)))
    parts = []
    for at in range(0, len(targets_N), step):
        part = slice(at, at + step)
        all_NV = _next_tokens(lm, states_ND[part], None if log_codes_NK is None else log_codes_NK[part])
        parts.append(all_NV.gather(1, targets_N[part, None])[:, 0])
    return torch.cat(parts) if parts else torch.zeros(0)


def _pass(lm: LatentLM, rows: Sequence[Sequence[int]], starts: Sequence[int], under: Under) -> list[Likelihood]:
    longest = max(map(len, rows))
    device = lm.base.device
    tokens_BT = torch.zeros(len(rows), longest, dtype=torch.long)
    mask_BT = torch.zeros_like(tokens_BT)
    wanted_BT = torch.zeros_like(tokens_BT, dtype=torch.bool)
    for i, (row, start) in enumerate(zip(rows, starts, strict=True)):
        tokens_BT[i, : len(row)] = torch.as_tensor(row)
        mask_BT[i, : len(row)] = 1
        wanted_BT[i, start : len(row)] = True
    wanted = wanted_BT[:, 1:].to(device)
    hidden_BTD = lm.base.hidden(tokens_BT.to(device), mask_BT.to(device))
    states_ND = hidden_BTD[:, :-1][wanted]
    targets_N = tokens_BT[:, 1:].to(device)[wanted]
    log_codes_NK = None
    if under == "codes":
        modules = lm.require_latents()
        scores = modules.policy(hidden_BTD.to(modules.codebook.weight.dtype))[:, :-1][wanted]
        log_codes_NK = torch.log_softmax(scores.float(), dim=-1)
    log_probs, greedy = [], []
    width = lm.base.vocab_size * (1 if log_codes_NK is None else lm.num_codes)
    step = max(1, HELD_NUMBERS // width)
    for at in range(0, len(targets_N), step):
        part = slice(at, at + step)
        all_NV = _next_tokens(lm, states_ND[part], None if log_codes_NK is None else log_codes_NK[part])
        log_probs.append(all_NV.gather(1, targets_N[part, None])[:, 0].cpu())
        greedy.append((all_NV.argmax(-1) == targets_N[part]).cpu())
    ends = [0, *wanted.sum(1).cumsum(0).tolist()]
    values_N, top_N = (torch.cat(parts) if parts else torch.zeros(0) for parts in (log_probs, greedy))
    return [Likelihood(values_N[begin:end], bool(top_N[begin:end].all())) for begin, end in pairwise(ends)]


def _next_tokens(lm: LatentLM, states_ND: Tensor, log_codes_NK: Tensor | None) -> Tensor:
    """Log-probabilities ``[N, V]`` of the next token."""
    base = lm.base
    if log_codes_NK is None:
        return torch.log_softmax(base.logits(states_ND), dim=-1)
    modules = lm.require_latents()
    merged = fan_out_states(modules, base, states_ND.to(modules.codebook.weight.dtype))
    each_NKV = torch.log_softmax(base.logits(merged.to(base.dtype)), dim=-1)
    return mixture_log_probs(log_codes_NK, each_NKV)
