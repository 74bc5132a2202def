"""What the model knows after a text, and what it chooses there."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor


def finite(x: Tensor) -> Tensor:
    """Whether all numbers of the last axis are finite: two kernels on a GPU, where ``isfinite`` and ``all`` are six."""
    fine: Tensor = torch.linalg.vector_norm(x, float("inf"), dim=-1) < float("inf")
    return fine


@dataclass(slots=True)
class Features:
    """What the model knows after the last token of each of B rows.

    Attributes:
        hidden_BD: The base's hidden states.
        scores_BA: The policy's scores of the codes; None without latent modules.
    """

    hidden_BD: Tensor
    scores_BA: Tensor | None

    def rows(self, index: Tensor | slice | Sequence[int]) -> Features:
        """The features of some rows."""
        if not isinstance(index, (Tensor, slice)):
            index = torch.tensor(list(index), device=self.hidden_BD.device, dtype=torch.long)
        return Features(self.hidden_BD[index], None if self.scores_BA is None else self.scores_BA[index])

    def usable(self) -> Tensor:
        """``[B]`` whether all numbers of a row are finite."""
        fine = finite(self.hidden_BD)
        return fine if self.scores_BA is None else fine & finite(self.scores_BA)

    @classmethod
    def join(cls, parts: Sequence[Features]) -> Features:
        """The rows of all parts, in order."""
        scores = [p.scores_BA for p in parts if p.scores_BA is not None]
        return cls(torch.cat([p.hidden_BD for p in parts]), torch.cat(scores) if scores else None)


@dataclass(frozen=True, slots=True)
class Chosen:
    """Next tokens of B rows.

    Attributes:
        token_B: The tokens.
        code_B: The codes drawn; None without latent actions.
        fine_B: Whether the row's scores and logits were usable; a token of a row that is not means nothing.
        kept_BA: True at the codes (or tokens) among which was drawn; None unless ``Actor.note_kept``.
    """

    token_B: Tensor
    code_B: Tensor | None
    fine_B: Tensor
    kept_BA: Tensor | None = None
