"""The shape of a model's keys and values."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from colasearch.errors import PrerequisiteError
from colasearch.model.latent_lm import LatentLM

Segment = Any
"""Keys and values of consecutive tokens, as who made them keeps them, with their ``nbytes``: of ``panels.py`` a tensor
``[layers, 2, kv_heads, T, head_dim]``, of ``pages.py`` a ``Run``."""


@dataclass(frozen=True, slots=True)
class KVShape:
    """Key/value shape of a model.

    Attributes:
        base_layers, policy_layers: Layers that keep keys and values.
        heads, head_dim: Key heads, and their size.
        unlike_kernels: Whether layers score with a soft cap or sinks, which fused kernels do not know.
    """

    base_layers: int
    policy_layers: int
    heads: int
    head_dim: int
    unlike_kernels: bool = False

    @classmethod
    def of(cls, lm: LatentLM) -> KVShape:
        """The shape for ``lm``.

        Raises:
            PrerequisiteError: The base's cache is no standard attention cache, or the latent modules have another
                key/value shape than the base.
        """
        config = lm.base.model.config
        kinds = set(getattr(config, "layer_types", None) or ["full_attention"])
        layers = getattr(config, "num_hidden_layers", None)
        heads = getattr(config, "num_key_value_heads", None) or getattr(config, "num_attention_heads", None)
        if not kinds <= {"full_attention", "sliding_attention"} or not layers or not heads:
            raise PrerequisiteError(
                f"{type(lm.base.model).__name__} has layers of kinds {sorted(kinds)}; the search needs a base whose "
                "layers all keep keys and values of each token (Llama, Qwen, Mistral, Gemma, ...)"
            )
        head_dim = int(getattr(config, "head_dim", None) or config.hidden_size // config.num_attention_heads)
        policy_layers = 0
        if lm.latents is not None:
            latent = lm.latents.config
            policy_layers = latent.policy_layers
            if (latent.num_kv_heads, latent.head_dim) != (int(heads), head_dim):
                raise PrerequisiteError(
                    f"the policy has {latent.num_kv_heads} key/value heads of {latent.head_dim}, the base {heads} of "
                    f"{head_dim}; train the latent modules with the base's own attention shape"
                )
        sinks = any(hasattr(module, "sinks") for module in lm.base.model.modules())
        unlike = bool(getattr(config, "attn_logit_softcapping", None)) or sinks
        return cls(int(layers), policy_layers, int(heads), head_dim, unlike)

    @property
    def layers(self) -> int:
        """Base and policy layers together."""
        return self.base_layers + self.policy_layers
