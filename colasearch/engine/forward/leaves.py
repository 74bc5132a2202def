"""All that the host learns of new leaves, in one copy from the device."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from colasearch.engine.forward.actor import Actor
from colasearch.engine.forward.features import Features
from colasearch.engine.forward.heads import StateHeads


@dataclass(frozen=True, slots=True)
class LeafNumbers:
    """Of B open leaves and N texts that have ended.

    Attributes:
        usable_B: Whether the model gave numbers at each leaf.
        tokens_BA: First token under each action; negative where the model gave NaN or infinity.
        scores_BA: The policy's scores of the codes; zeros without latent actions.
        value_B: What the heads say of each leaf; None where no head does.
        q_BA: Q-values; None without a Q head.
        end_N: What the heads say of texts that have ended.
    """

    usable_B: np.ndarray
    tokens_BA: np.ndarray
    scores_BA: np.ndarray
    value_B: np.ndarray | None
    q_BA: np.ndarray | None
    end_N: np.ndarray


@torch.inference_mode()
def leaf_numbers(
    actor: Actor, heads: StateHeads, features: Features | None, uniforms_BA: np.ndarray, lasts: Sequence[Features] = ()
) -> LeafNumbers:
    """Ask the model about leaves with ``features`` (None: there are none) and texts with ``lasts``."""
    parts: list[Tensor] = []
    if features is not None:
        parts += [features.usable(), actor.fan_out(features, uniforms_BA)]
        parts += [] if features.scores_BA is None else [features.scores_BA]
        parts += [heads.values_B(features)] if heads.value_states else []
        parts += [] if heads.q is None else [heads.q_BA(features)]
    if lasts and heads.value_states:
        parts.append(heads.end_values(lasts))
    # Float64 holds every token number and every float32 as it is.
    flat = torch.cat([part.reshape(-1).double() for part in parts]).cpu().numpy() if parts else np.zeros(0)
    cuts: np.ndarray | list[int] = np.cumsum([part.numel() for part in parts])[:-1] if parts else []
    found = [piece.reshape(part.shape) for piece, part in zip(np.split(flat, cuts), parts, strict=bool(parts))]
    given = iter(found)
    count = 0 if features is None else len(features.hidden_BD)
    blank = np.zeros((count, actor.num_actions))
    none = features is None
    return LeafNumbers(
        np.ones(0, np.bool_) if none else next(given).astype(np.bool_),
        blank.astype(np.int64) if none else next(given).astype(np.int64),
        blank if features is None or features.scores_BA is None else next(given).astype(np.float32),
        None if none or not heads.value_states else next(given).astype(np.float32),
        None if none or heads.q is None else next(given).astype(np.float32),
        next(given).astype(np.float32) if lasts and heads.value_states else np.zeros(0, np.float32),
    )
