"""Qwen2.5-Math-PRM as transformers has no class for it: a Qwen2 with a head of two layers at every token.

Zhang et al., "The lessons of developing process reward models" (arXiv 2501.07301). The published folder names a class
in code of its own, which is not run here; its tensors are ``model.*`` as in Qwen2, ``score.0`` and ``score.2``.
"""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

from torch import Tensor, nn
from transformers import Qwen2Model, Qwen2PreTrainedModel

LABELS = 2


class QwenProcessModel(Qwen2PreTrainedModel):  # type: ignore[misc]
    """Logits ``[B, T, 2]`` (wrong, right) of Linear, ReLU, Linear on the last hidden state."""

    _keys_to_ignore_on_load_unexpected = [r"lm_head\.weight"]  # noqa: RUF012 (transformers wants a list)

    def __init__(self, config: Any) -> None:
        super().__init__(config)
        self.model = Qwen2Model(config)
        width = int(config.hidden_size)
        self.score = nn.Sequential(nn.Linear(width, width), nn.ReLU(), nn.Linear(width, LABELS))
        self.post_init()

    def forward(self, input_ids: Tensor, attention_mask: Tensor | None = None, **more: Any) -> Any:
        """Of padded rows of tokens ``[B, T]``; the result has ``logits``, as transformers' classifiers have.

        ``more`` goes to the model: ``position_ids``, ``past_key_values``, ``use_cache``.
        """
        out = self.model(input_ids=input_ids, attention_mask=attention_mask, **more)
        return SimpleNamespace(logits=self.score(out.last_hidden_state))
