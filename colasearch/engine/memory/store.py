"""Keys and values of tree nodes.

A node owns the keys and values of its own tokens only (a ``Segment``); those of a path are put together row by row when
something is decoded below it (``engine/memory/panels.py``). Codes never enter: they act after the last layer.

The base's layers come first in a segment, the policy's blocks after them. All have the same key/value shape here,
because the latent modules take the base's attention shape.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Hashable
from dataclasses import dataclass

from torch import Tensor

from colasearch.errors import PrerequisiteError
from colasearch.model.latent_lm import LatentLM

Segment = Tensor
"""Keys and values of consecutive tokens: ``[layers, 2, kv_heads, T, head_dim]``."""


@dataclass(frozen=True, slots=True)
class KVShape:
    """Key/value shape of a model: base layers, policy layers, heads, head size."""

    base_layers: int
    policy_layers: int
    heads: int
    head_dim: int

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
        if kinds != {"full_attention"} or not layers or not heads:
            raise PrerequisiteError(
                f"{type(lm.base.model).__name__} has layers of kinds {sorted(kinds)}; the search needs a base whose "
                "layers all keep a full attention cache (Llama, Qwen2, Mistral without sliding windows, ...)"
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
        return cls(int(layers), policy_layers, int(heads), head_dim)

    @property
    def layers(self) -> int:
        """Base and policy layers together."""
        return self.base_layers + self.policy_layers


class KVStore:
    """Keys and values of tree nodes under a memory budget.

    When the budget is passed, the entries used longest ago go. Nothing is lost: whoever misses one computes it again.

    Attributes:
        budget: Most bytes to keep; None keeps all.
        used, peak: Bytes held now, and at most so far.
        evicted: Entries thrown out so far.
    """

    def __init__(self, budget: int | None = None) -> None:
        self.budget = budget
        self.used = self.peak = self.evicted = 0
        self._entries: OrderedDict[Hashable, Segment] = OrderedDict()

    def put(self, key: Hashable, segment: Segment) -> None:
        """Keep ``segment`` as the entry used last, in place of an old one of that key."""
        self.drop(key)
        self._entries[key] = segment
        self.used += segment.nbytes
        while self.budget is not None and self.used > self.budget and len(self._entries) > 1:
            oldest = next(iter(self._entries))
            self.drop(oldest)
            self.evicted += 1
        self.peak = max(self.peak, self.used)

    def get(self, key: Hashable) -> Segment | None:
        """The entry, which now counts as used last; None when it is gone."""
        segment = self._entries.get(key)
        if segment is not None:
            self._entries.move_to_end(key)
        return segment

    def drop(self, key: Hashable) -> None:
        """Forget an entry if it is there."""
        segment = self._entries.pop(key, None)
        if segment is not None:
            self.used -= segment.nbytes
