"""The inverse dynamics model: which latent action led from x_t to x_{t+1}."""

from __future__ import annotations

from typing import NoReturn

import torch
from torch import Tensor, nn

from colasearch.errors import PrerequisiteError
from colasearch.model.blocks import BlockStack
from colasearch.model.config import LatentConfig


class InverseDynamicsModel(BlockStack):
    """Causal blocks on the base's hidden states; scores each code (cola-spec section 1).

    ``forward`` gives unshifted scores z. Position t of ``transition_scores`` is the score of the code that produced
    token t+1: z is shifted left by one, so the model has seen exactly one token of the future, x_{t+1}.
    """

    def __init__(self, config: LatentConfig) -> None:
        super().__init__(
            layers=config.idm_layers,
            width=config.hidden_size,
            heads=config.num_heads,
            kv_heads=config.num_kv_heads,
            head_dim=config.head_dim,
            ffn=config.idm_ffn,
            eps=config.norm_eps,
            theta=config.rope_theta,
            scaling=config.rope_scaling,
            outputs=config.num_codes,
        )

    def require(self) -> None:
        """Nothing: it is there (:class:`AbsentIDM` refuses)."""

    def transition_scores(self, hidden: Tensor) -> Tensor:
        """Scores ``[B, T-1, K]`` of the codes of transitions t -> t+1, from hidden states ``[B, T, D]``."""
        scores: Tensor = self(hidden)
        return scores[:, 1:]

    @torch.no_grad()
    def codes(self, hidden: Tensor) -> Tensor:
        """The most probable code ``[B, T-1]`` of each transition."""
        return self.transition_scores(hidden).argmax(-1)


class AbsentIDM(InverseDynamicsModel):
    """In the place of an IDM that a shipped model comes without; solving and learning from rewards need none."""

    def __init__(self) -> None:
        nn.Module.__init__(self)

    def forward(self, *_: object) -> NoReturn:
        """Refuse, as :meth:`require` does."""
        self.require()

    def require(self) -> NoReturn:
        """Refuse; to be called before work that needs its codes.

        Raises:
            PrerequisiteError: Always.
        """
        raise PrerequisiteError(
            "this model has no inverse dynamics model (idm_layers is 0 in its config.json), which tells the codes of "
            "given texts; use the model it was made from, or train a new one with `colasearch train actions`"
        )
