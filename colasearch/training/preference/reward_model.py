"""A reward model from pairs: a base with one output in place of its vocabulary, trained by Bradley-Terry.

What is saved is what TRL's RewardTrainer saves: a folder that ``AutoModelForSequenceClassification`` loads, with one
label. A pair's texts are laid out as ``rm:FOLDER`` lays out what it scores (``model.rewards.conversation_tokens``).
"""

from __future__ import annotations

import copy
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from colasearch.errors import PrerequisiteError
from colasearch.model.base import BaseModel
from colasearch.model.quiet import quiet_transformers
from colasearch.model.rewards import conversation_tokens, padding_token
from colasearch.storage.files import folder_atomic
from colasearch.training.base.tuning import Tuning, layers_of, low_rank
from colasearch.training.preference.pairs import Pair
from colasearch.training.preference.reliability import measures, right
from colasearch.training.running.loop import Metrics


def new_classifier(base: BaseModel, seed: int) -> Any:
    """A sequence classifier with one output on the layers of ``base`` (shared), with a head drawn by ``seed``.

    Raises:
        PrerequisiteError: transformers knows no sequence classifier of this architecture.
    """
    from transformers import AutoModelForSequenceClassification

    config = copy.deepcopy(base.model.config)
    config.num_labels = 1
    name = type(base.model).__name__
    with quiet_transformers(), torch.device("meta"):
        try:
            model = AutoModelForSequenceClassification.from_config(config)
        except ValueError as error:
            raise PrerequisiteError(
                f"transformers makes no sequence classifier of {name} ({str(error)[:120]}); give another base"
            ) from None
    if model.base_model_prefix != base.model.base_model_prefix:
        raise PrerequisiteError(f"{type(model).__name__} does not hold its layers as {name} does; give another base")
    setattr(model, model.base_model_prefix, base.model.base_model)
    generator = torch.Generator().manual_seed(seed)
    spread = float(getattr(config.get_text_config(), "initializer_range", 0.02))
    for path, parameter in list(model.named_parameters()):
        if parameter.is_meta:
            value = torch.zeros(parameter.shape)
            if value.dim() > 1:
                value.normal_(0, spread, generator=generator)
            owner, _, leaf = path.rpartition(".")
            setattr(model.get_submodule(owner), leaf, nn.Parameter(value.to(base.device)))
    model.config.get_text_config().pad_token_id = padding_token(config, base.tokenizer)
    return model


class TunableClassifier:
    """A classifier with some weights made trainable, its head always.

    Args:
        base: Its layers become the classifier's, and are trained in place.
        tuning: What of them trains.
        seed: Draws the head and low-rank changes.

    Raises:
        InputError: A layer does not exist.
        PrerequisiteError: Low-rank changes without peft, or an unfit architecture.
    """

    def __init__(self, base: BaseModel, tuning: Tuning, seed: int) -> None:
        self.base, self.model = base, new_classifier(base, seed).eval()
        self.half = base.device.type == "cuda" or base.dtype != torch.float32
        self.dtype = base.dtype
        inner = {id(p) for p in base.model.base_model.parameters()}
        head = [p for p in self.model.parameters() if id(p) not in inner]
        self.model.requires_grad_(False)
        self._lora: Any = None
        if tuning.how == "lora":
            heads = {id(p) for p in head}
            names = [
                name for name, m in self.model.named_modules() if isinstance(m, nn.Linear) and id(m.weight) not in heads
            ]
            self._lora = low_rank(self.model, names, tuning, seed)
        elif tuning.how == "layers":
            for layer in layers_of(base, tuning.layers):
                layer.requires_grad_(True)
        else:
            self.model.requires_grad_(True)
        for p in head:
            p.requires_grad_(True)
        for p in self.parameters():
            p.data = p.data.float()  # small updates vanish in half precision

    def parameters(self) -> list[nn.Parameter]:
        """What trains."""
        return [p for p in self.model.parameters() if p.requires_grad]

    @property
    def size(self) -> int:
        """How many numbers train."""
        return sum(p.numel() for p in self.parameters())

    def rewards(self, rows: Sequence[Sequence[int]]) -> Tensor:
        """Rewards ``[B]`` in float32 of rows of tokens, padded on the right."""
        device, pad = self.base.device, int(self.model.config.get_text_config().pad_token_id)
        longest = max(map(len, rows))
        tokens_BT = torch.full((len(rows), longest), pad)
        mask_BT = torch.zeros_like(tokens_BT)
        for i, row in enumerate(rows):
            tokens_BT[i, : len(row)] = torch.as_tensor(row)
            mask_BT[i, : len(row)] = 1
        with torch.autocast(device.type, torch.bfloat16, enabled=self.half):
            out = self.model(input_ids=tokens_BT.to(device), attention_mask=mask_BT.to(device), use_cache=False)
        rewards: Tensor = out.logits[:, 0].float()
        return rewards

    def save(self, folder: Path, card: str) -> None:
        """Merge low-rank changes and write the folder, atomically; the weights in the base's element type."""
        if self._lora is not None:
            self._lora.merge_and_unload()
            self._lora = None
        self.model.requires_grad_(False).eval().to(self.dtype)
        with quiet_transformers(), folder_atomic(folder, replace=True) as temporary:
            self.model.save_pretrained(str(temporary))
            self.base.tokenizer.save_pretrained(str(temporary))
            (temporary / "README.md").write_text(card, encoding="utf-8")


@dataclass(frozen=True, slots=True)
class PairTokens:
    """What the model reads of a pair: prompt and text, for both texts."""

    chosen: list[int]
    rejected: list[int]

    @property
    def longest(self) -> int:
        """Tokens of the longer one."""
        return max(len(self.chosen), len(self.rejected))


def pair_tokens(tokenizer: Any, pair: Pair) -> PairTokens:
    """Lay out a pair."""
    chosen, rejected = (
        conversation_tokens(tokenizer, [*pair.prompt, {"role": "assistant", "content": text}])
        for text in (pair.chosen, pair.rejected)
    )
    return PairTokens(chosen, rejected)


class RewardLearner:
    """Accumulates the gradients of -log sigmoid(r_chosen - r_rejected) + center * (r_chosen + r_rejected)^2.

    The second term (Eisenstein et al., arXiv 2312.09244) keeps rewards about 0, where the rule ``sigmoid`` of ``rm:``
    tells texts apart; pairs alone fix rewards only up to a constant for each prompt.

    Args:
        classifier: Trained in place.
        rows: The pairs' tokens.
        micro_tokens: Padded tokens in one pass (a single pair may be longer).
        center: Weight of the second term.
    """

    def __init__(
        self, classifier: TunableClassifier, rows: Sequence[PairTokens], micro_tokens: int, center: float = 0.0
    ) -> None:
        self.classifier, self.rows, self.micro_tokens, self.center = classifier, rows, micro_tokens, center

    def _passes(self, indices: Sequence[int]) -> Iterator[list[int]]:
        group: list[int] = []
        for index in sorted(indices, key=lambda i: (self.rows[i].longest, i)):
            if group and 2 * (len(group) + 1) * self.rows[index].longest > self.micro_tokens:
                yield group
                group = []
            group.append(index)
        if group:
            yield group

    def _both(self, indices: Sequence[int]) -> tuple[Tensor, Tensor]:
        rows = [self.rows[i] for i in indices]
        rewards = self.classifier.rewards([*(row.chosen for row in rows), *(row.rejected for row in rows)])
        chosen, rejected = rewards.chunk(2)
        return chosen, rejected

    def accumulate(self, indices: Sequence[int], step: int, steps: int) -> Metrics:
        """Add the gradients of one batch; returns its loss, accuracy and mean margin."""
        total = {"loss": 0.0, "accuracy": 0.0, "margin": 0.0}
        for part in self._passes(indices):
            chosen, rejected = self._both(part)
            margins = chosen - rejected
            preference = -F.logsigmoid(margins).sum()
            loss = preference + self.center * (chosen + rejected).square().sum()
            (loss / len(indices)).backward()  # type: ignore[no-untyped-call]
            found = margins.detach().tolist()
            total["loss"] += float(preference.detach()) / len(indices)
            total["accuracy"] += sum(map(right, found)) / len(indices)
            total["margin"] += sum(found) / len(indices)
        return total

    @torch.no_grad()
    def margins(self, indices: Sequence[int]) -> list[float]:
        """r_chosen - r_rejected of pairs, in the order of ``indices``."""
        found: dict[int, float] = {}
        for part in self._passes(indices):
            chosen, rejected = self._both(part)
            found.update(zip(part, (chosen - rejected).tolist(), strict=True))
        return [found[i] for i in indices]

    def evaluate(self, indices: Sequence[int]) -> Metrics:
        """Held-out measures (``reliability.measures``); none without pairs."""
        return measures(self.margins(indices)) if indices else {}


def pair_batches(indices: Sequence[int], batch: int, seed: int, epoch: int) -> list[list[int]]:
    """One epoch: the pairs in an order that depends on seed and epoch alone, ``batch`` in each update."""
    order = np.random.default_rng([seed, epoch]).permutation(np.asarray(indices)).tolist()
    return [order[at : at + batch] for at in range(0, len(order), batch)]
