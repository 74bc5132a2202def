"""What the model's own heads say of states: the value head, and the Q head in its place.

Where the Q head values states (``--values q``), a state is worth ``Σ_a π(a|s) Q(s, a)``, the policy's expectation: the
value that mctx gives to actions not tried rests on the same sum, and it is what a rollout of the policy estimates.
The maximum over all codes would be that of the codes which the head overestimates most, of which most were never taken.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from colasearch.engine.forward.features import Features
from colasearch.engine.settings import WorldConfig
from colasearch.errors import InputError
from colasearch.model.latent_lm import LatentLM
from colasearch.model.value import QHead, ValueHead


@dataclass(frozen=True, slots=True)
class StateHeads:
    """The heads in use.

    Attributes:
        value: Values states; None where something else does.
        q: Gives Q-values; None without a Q head, or where actions are no codes.
        by_q: Whether ``q`` values states.
        temperature: Of the policy over codes.
    """

    value: ValueHead | None
    q: QHead | None
    by_q: bool
    temperature: float

    @classmethod
    def of(cls, lm: LatentLM, config: WorldConfig, latent: bool) -> StateHeads:
        """The heads that ``config`` asks for; ``latent`` says whether actions are codes.

        Raises:
            InputError: Q-values are asked for where actions are no codes.
            PrerequisiteError: They are asked for and the model has no Q head.
        """
        by_q = config.q_values and not config.values
        if by_q and not latent:
            raise InputError("--values q values latent codes, but --actions is sampled; use --values head or rollouts")
        if by_q:
            lm.require_q()
        latents = lm.latents
        if latents is None:
            return cls(None, None, False, config.sampling.temperature)
        use_head = config.value_head and not config.values and not by_q
        return cls(
            latents.value if use_head else None, latents.q if latent else None, by_q, config.sampling.temperature
        )

    @property
    def value_states(self) -> bool:
        """Whether the heads value states at all."""
        return self.by_q or self.value is not None

    @torch.inference_mode()
    def values_B(self, features: Features) -> Tensor:
        """Values ``[B]`` of states, in (0, 1)."""
        if self.value is not None:
            values: Tensor = self.value(features.hidden_BD).float()
            return values
        assert self.q is not None
        assert features.scores_BA is not None
        policy_BA = torch.softmax(features.scores_BA.float() / self.temperature, -1)
        expected: Tensor = (policy_BA * self.q(features.hidden_BD)).sum(-1)
        return expected

    @torch.inference_mode()
    def q_BA(self, features: Features) -> Tensor:
        """Q-values ``[B, A]`` of states, in (0, 1)."""
        assert self.q is not None
        values: Tensor = self.q(features.hidden_BD).float()
        return values

    def values(self, features: Features) -> np.ndarray:
        """As ``values_B``, on the host."""
        values: np.ndarray = self.values_B(features).cpu().numpy()
        return values

    def q_values(self, features: Features) -> np.ndarray | None:
        """As ``q_BA``, on the host; None without a Q head."""
        if self.q is None:
            return None
        values: np.ndarray = self.q_BA(features).cpu().numpy()
        return values

    def end_values(self, lasts: Sequence[Features]) -> Tensor:
        """Values ``[N]`` of as many features of one row each."""
        if lasts and lasts[0].hidden_BD.device.type != "cpu":
            return self.values_B(Features.join(lasts))
        return torch.cat([self.values_B(last) for last in lasts] or [torch.zeros(0)])
