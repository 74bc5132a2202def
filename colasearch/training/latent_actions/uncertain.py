"""Which transitions stage 1 should spend its time on: those at which the base leaves open what comes next.

Of a text that the base itself wrote, nine tokens in ten are as good as certain: no code can tell anything about them,
and yet they cost most of a step, a merge and a product with the whole output head each. Their transitions are thinned
out; a few stay, so that codes learn to leave alone what is certain.
"""

from __future__ import annotations

import torch
from torch import Tensor

from colasearch.model.base import BaseModel
from colasearch.training.data.corpus import pack
from colasearch.training.data.hidden_cache import States

ROWS = 2048  # transitions whose full-vocabulary logits are held at once


@torch.no_grad()
def weights_of(
    base: BaseModel,
    states: States,
    below: float = 0.9,
    share: float = 0.1,
    weight: float = 1.0,
    seed: int = 0,
    batch_tokens: int = 8192,
) -> list[Tensor]:
    """Weights ``[T-1]`` of each document's transitions, for ``ActionLearner``.

    Args:
        base: The base, which is asked once for every transition.
        states: Its hidden states.
        below: A transition is open where the likeliest token has a probability below this; it has weight 1. Which token
            the text has plays no part: rare ones must not count for more than they are.
        share: Of the other transitions that count, about so many are drawn, too.
        weight: The weight of a drawn one: 1 makes little of what is certain, ``1 / share`` keeps the loss's mean.
        seed: Of the draw, which depends on nothing else.
        batch_tokens: Padded tokens in one pass.
    """
    documents = states.documents
    result: list[Tensor] = [torch.empty(0)] * len(documents)
    for group in pack(documents, range(len(documents)), batch_tokens):
        batch = states.batch(group)
        valid_BT = batch.valid_BT
        hidden_ND = batch.hidden_BTD[:, :-1][valid_BT]
        starts = range(0, len(hidden_ND), ROWS)
        logits = (base.logits(hidden_ND[i : i + ROWS].to(base.dtype)) for i in starts)
        known_N = torch.cat([part.softmax(-1).amax(-1) for part in logits])
        weight_BT = torch.zeros(valid_BT.shape, device=valid_BT.device)
        weight_BT[valid_BT] = (known_N < below).float()
        for row, index in enumerate(group):
            length = len(documents[index].tokens) - 1
            generator = torch.Generator().manual_seed(hash((seed, index)) % (1 << 62))
            drawn = (torch.rand(length, generator=generator) < share).to(weight_BT.device)
            certain = valid_BT[row, :length] & (weight_BT[row, :length] == 0)
            result[index] = weight_BT[row, :length] + weight * (certain & drawn).float()
    return result
