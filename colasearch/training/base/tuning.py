"""Which of the base's weights train (all, chosen layers, or low-rank changes), and how they are saved.

Used by guided fine-tuning and by token-level RL, the control of RL on codes.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Literal

import torch
from torch import Tensor, nn

from colasearch.errors import InputError, PrerequisiteError
from colasearch.model.base import BaseModel
from colasearch.model.inverse_dynamics import AbsentIDM
from colasearch.model.latent_lm import LatentLM
from colasearch.model.tuned import changed_names, tuned_identity, write_tuned


def mixed_precision(base: BaseModel) -> torch.autocast:
    """The precision that RL and guided fine-tuning compute in, when sampling as when training.

    bfloat16 on CUDA and wherever the base was loaded in half precision; trained weights themselves are float32.
    """
    kind = base.device.type
    half = kind == "cuda" or base.autocast or base.dtype != torch.float32
    return torch.autocast(kind, torch.bfloat16, enabled=half)


@dataclass(frozen=True, slots=True)
class Tuning:
    """What of the base trains.

    Attributes:
        how: ``full``: every weight, as published. ``layers``: those of ``layers``. ``lora``: low-rank changes of every
            linear map but the output head (needs the peft package).
        layers: Transformer layers from 0; negative ones count from the end.
        rank, alpha: Of the low-rank changes; W + alpha / rank * B A.
    """

    how: Literal["full", "layers", "lora"] = "lora"
    layers: tuple[int, ...] = ()
    rank: int = 16
    alpha: float = 32.0


def linear_names(base: BaseModel) -> list[str]:
    """Names of all linear maps of the base but the output head."""
    head = base.head
    return [name for name, m in base.model.named_modules() if isinstance(m, nn.Linear) and m is not head]


def lora_rank_for(base: BaseModel, parameters: int) -> int:
    """The rank whose low-rank changes have about ``parameters`` trainable numbers (at least 1).

    With a policy's size it makes token-level RL train as much as RL on codes does.
    """
    per_rank = sum(sum(base.model.get_submodule(name).weight.shape) for name in linear_names(base))
    return max(1, round(parameters / per_rank))


class TunableBase:
    """A model's base with some weights made trainable.

    Attributes:
        lm: The model.
        model: The transformers model, which holds the trainable weights.
        names: Names of the trainable weights, in order.

    Raises:
        InputError: A layer does not exist.
        PrerequisiteError: ``lora`` without peft.
    """

    def __init__(self, lm: LatentLM, tuning: Tuning, seed: int) -> None:
        self.lm, self.tuning = lm, tuning
        self.model: nn.Module = lm.base.model
        self.model.requires_grad_(False)
        if lm.base.device.type == "cpu" and lm.base.dtype == torch.bfloat16:
            # torch's fused attention for CPUs goes backwards slowly in bfloat16: a step of low-rank tuning of
            # smollm2-135m on texts of a hundred tokens takes 2.6 s without it and 3.2 s with it (2026-11-23).
            lm.base.model.set_attn_implementation("eager")
        self._lora: Any = None
        if tuning.how == "lora":
            self._lora = _add_lora(lm.base, tuning, seed)
        elif tuning.how == "layers":
            for layer in layers_of(lm.base, tuning.layers):
                layer.requires_grad_(True)
        else:
            self.model.requires_grad_(True)
        lm.base.autocast = lm.base.dtype != torch.float32
        for p in self.parameters():
            # An update is often less than half a unit in the last of bfloat16's 8 bits, and would be rounded away.
            p.data = p.data.float()
        self.names = [name for name, p in self.model.named_parameters() if p.requires_grad]
        self._start = [p.detach().clone() for p in self.parameters()]

    def parameters(self) -> list[nn.Parameter]:
        """What trains."""
        return [p for p in self.model.parameters() if p.requires_grad]

    @property
    def size(self) -> int:
        """How many numbers train."""
        return sum(p.numel() for p in self.parameters())

    @contextlib.contextmanager
    def at_start(self) -> Iterator[None]:
        """The base as it was before training, for as long as the block lasts."""
        with swapped(self.parameters(), self._start):
            yield

    def merge(self) -> None:
        """Make the changes part of the base's weights, and freeze it."""
        if self._lora is not None:
            self._lora.merge_and_unload()
        self.model.requires_grad_(False).eval()

    def finish(self, folder: Path) -> None:
        """Merge what was trained into the base, write it to ``folder`` and note it in the model's config.

        Low-rank changes of a base that already was fine-tuned are saved as whole tensors, with the earlier changes. An
        IDM that reads what was there in between is dropped: nobody could make that base again.
        """
        lm = self.lm
        config = lm.require_latents().config
        parameters = dict(self.model.named_parameters())
        factors = {name.replace(".default.", "."): parameters[name].detach().clone() for name in self.names}
        changed = set(self.names)
        if self._lora is not None:
            changed = {f"{name.rpartition('.lora_')[0]}.weight" for name in self.names}
        self.merge()
        folder.mkdir(parents=True, exist_ok=True)
        if config.tuned is None and self._lora is not None:
            tuned = write_tuned(folder, "lora", factors, self.tuning.alpha / self.tuning.rank)
        else:
            if config.tuned is not None and lm.tuned_path is not None:
                changed |= changed_names(lm.tuned_path, config.tuned)
            parameters = dict(self.model.named_parameters())
            tuned = write_tuned(folder, "weights", {name: parameters[name] for name in sorted(changed)})
        if config.tuned is not None and config.tuned.codes_after:
            lm.require_latents().idm = AbsentIDM()
            config = replace(config, idm_layers=0, idm_ffn=0)
        lm.tuned_path = folder / tuned.file
        lm.require_latents().config = replace(config, tuned=tuned)
        lm.base.identity = replace(lm.base.identity, weights_sha256=tuned_identity(config.base, tuned).weights_sha256)


@contextlib.contextmanager
def swapped(parameters: Sequence[nn.Parameter], values: Sequence[Tensor]) -> Iterator[None]:
    """``parameters`` hold ``values`` for as long as the block lasts; nothing is copied."""
    mine = [p.data for p in parameters]
    try:
        for p, value in zip(parameters, values, strict=True):
            p.data = value
        yield
    finally:
        for p, value in zip(parameters, mine, strict=True):
            p.data = value


def layers_of(base: BaseModel, wanted: Sequence[int]) -> list[nn.Module]:
    """Transformer layers of ``base`` by number, from 0 or from the end.

    Raises:
        InputError: One does not exist, or none is given.
    """
    count = int(base.model.config.num_hidden_layers)
    stacks = [m for m in base.model.modules() if isinstance(m, nn.ModuleList) and len(m) == count]
    if not wanted or any(not -count <= layer < count for layer in wanted) or not stacks:
        raise InputError(
            f"layers to train are {list(wanted)}; the base has {count} layers: give some of 0 to {count - 1}, or "
            f"{-count} to -1"
        )
    return [stacks[0][layer] for layer in wanted]


def _add_lora(base: BaseModel, tuning: Tuning, seed: int) -> Any:
    names = linear_names(base)
    if not names:
        raise PrerequisiteError(
            f"{type(base.model).__name__} has no linear maps to change; train chosen layers instead"
        )
    return low_rank(base.model, names, tuning, seed)


def low_rank(model: nn.Module, names: Sequence[str], tuning: Tuning, seed: int) -> Any:
    """Peft's tuner, which has put low-rank changes on the linear maps ``names`` of ``model`` and frozen all else.

    Raises:
        PrerequisiteError: peft is not installed.
    """
    try:
        from peft import LoraConfig, LoraModel
    except ImportError:
        raise PrerequisiteError(
            "low-rank tuning needs the peft package; install it with `pip install '.[lora]'`, or train "
            "chosen layers or the whole base"
        ) from None
    config = LoraConfig(r=tuning.rank, lora_alpha=tuning.alpha, lora_dropout=0.0, target_modules=list(names))
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        tuner = LoraModel(model, config, "default")
    return tuner
