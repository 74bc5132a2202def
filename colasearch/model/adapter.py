"""A peft LoRA folder on its base: ``adapter_config.json`` and ``adapter_model.safetensors``, merged when loaded.

Nothing of peft is needed. A layer's weight becomes W + scale * B A, where scale is alpha / r (alpha / sqrt(r) with
``use_rslora``); Hu et al., LoRA, arXiv 2106.09685.
"""

from __future__ import annotations

import hashlib
import math
import re
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from colasearch.disk import raise_disk
from colasearch.errors import CorruptFileError, PrerequisiteError
from colasearch.storage.files import check_plain, read_json

if TYPE_CHECKING:
    from torch import Tensor, nn

CONFIG_NAME = "adapter_config.json"
WEIGHTS_NAME = "adapter_model.safetensors"
PREFIX = "base_model.model."
KEY = re.compile(r"(?P<module>.+)\.lora_(?P<half>[AB])(\.default)?\.weight")
UNSUPPORTED = {
    "use_dora": "DoRA",
    "use_qalora": "QA-LoRA",
    "fan_in_fan_out": "transposed weights (fan_in_fan_out)",
    "modules_to_save": "whole modules (modules_to_save)",
    "alora_invocation_tokens": "activated LoRA",
    "trainable_token_indices": "trained tokens (trainable_token_indices)",
    "layer_replication": "repeated layers (layer_replication)",
    "target_parameters": "changed parameters (target_parameters)",
    "lora_bias": "biases of LoRA layers (lora_bias)",
}
"""Fields of ``adapter_config.json`` that must be empty or false, and what they stand for."""
MERGE = (
    "merge it with peft (PeftModel.from_pretrained(base, folder).merge_and_unload().save_pretrained(NEW)), and give NEW"
)


@dataclass(frozen=True, slots=True)
class Adapter:
    """A LoRA folder.

    Attributes:
        folder: Where it is.
        base: Name or path of its base, as its config has it.
        rank: r of layers without a rank of their own.
        alpha: alpha of such layers.
        ranks: r by pattern of module names.
        alphas: alpha by pattern.
        root_scale: Whether the scale is alpha / sqrt(r).
    """

    folder: Path
    base: str
    rank: int
    alpha: float
    ranks: dict[str, int]
    alphas: dict[str, float]
    root_scale: bool

    def scale(self, module: str) -> float:
        """What B A is multiplied by in ``module``."""
        rank, alpha = _of_pattern(self.ranks, module, self.rank), _of_pattern(self.alphas, module, self.alpha)
        return float(alpha / (math.sqrt(rank) if self.root_scale else rank))


def is_adapter(folder: Path) -> bool:
    """Whether ``folder`` holds an adapter and no model."""
    return (folder / CONFIG_NAME).is_file() and not (folder / "config.json").is_file()


def read_adapter(folder: Path) -> Adapter:
    """Read ``adapter_config.json``.

    Raises:
        PrerequisiteError: It is no plain LoRA, or has no safetensors.
        CorruptFileError: The config is damaged.
    """
    config = read_json(folder / CONFIG_NAME)
    kind = str(config.get("peft_type"))
    extras = [what for field, what in UNSUPPORTED.items() if config.get(field)]
    if kind != "LORA" or extras or config.get("bias", "none") != "none":
        what = " and ".join(extras) or (f"trained biases ({config['bias']})" if kind == "LORA" else f"type {kind}")
        raise PrerequisiteError(f"{folder} is a peft adapter with {what}; colasearch merges plain LoRA only: {MERGE}")
    if not (folder / WEIGHTS_NAME).is_file():
        raise PrerequisiteError(
            f"{folder} has no {WEIGHTS_NAME}; colasearch loads no pickled weights: save the adapter again "
            "(model.save_pretrained(..., safe_serialization=True))"
        )
    check_plain(folder / WEIGHTS_NAME)
    base = config.get("base_model_name_or_path")
    try:
        rank, alpha = int(config["r"]), float(config["lora_alpha"])
        ranks = {str(k): int(v) for k, v in (config.get("rank_pattern") or {}).items()}
        alphas = {str(k): float(v) for k, v in (config.get("alpha_pattern") or {}).items()}
        if not isinstance(base, str) or not base or min(rank, *ranks.values(), rank) < 1:
            raise ValueError(f"base_model_name_or_path is {base!r}, r is {rank}")
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        raise CorruptFileError(f"{folder / CONFIG_NAME} cannot be used ({error}); save the adapter again") from None
    return Adapter(folder, base, rank, alpha, ranks, alphas, bool(config.get("use_rslora")))


def merged_sha256(weights: str, adapter: str, found: Adapter) -> str:
    """What stands for base weights of SHA-256 ``weights`` under the adapter file of SHA-256 ``adapter``."""
    how = (found.rank, found.alpha, sorted(found.ranks.items()), sorted(found.alphas.items()), found.root_scale)
    return hashlib.sha256(f"{weights} {adapter} {how}".encode()).hexdigest()


def merge_adapter(model: nn.Module, adapter: Adapter) -> None:
    """Add the low-rank changes to ``model`` in place.

    Raises:
        CorruptFileError: The file is damaged, incomplete, or not for this base.
        PrerequisiteError: It changes more than linear layers.
    """
    import torch

    path = adapter.folder / WEIGHTS_NAME
    parameters = dict(model.named_parameters())
    changes = _changes(path)
    if not changes:
        raise CorruptFileError(f"{path} holds no LoRA layers; save the adapter again")
    for module, halves in sorted(changes.items()):
        weight = parameters.get(f"{module}.weight")
        if set(halves) != {"A", "B"}:
            raise CorruptFileError(f"{path}: the low-rank change of {module} is incomplete; save the adapter again")
        down, up = halves["A"].float(), halves["B"].float()
        rank = _of_pattern(adapter.ranks, module, adapter.rank)
        if down.shape[0] != rank or up.shape[-1] != rank:
            raise CorruptFileError(
                f"{path}: {module} has rank {down.shape[0]}, {CONFIG_NAME} says {rank}; copy both files again"
            )
        if weight is None or tuple(weight.shape) != (up.shape[0], down.shape[1]):
            have = "no such layer" if weight is None else f"shape {tuple(weight.shape)}"
            raise CorruptFileError(
                f"{path} changes {module} of shape {(up.shape[0], down.shape[1])}, but the base {adapter.base} has "
                f"{have}; give the adapter's own base in base_model_name_or_path of {CONFIG_NAME}"
            )
        change = adapter.scale(module) * (up @ down)
        with torch.no_grad():
            weight.copy_(weight.float() + change.to(weight.device))


def _changes(path: Path) -> dict[str, dict[str, Tensor]]:
    """Module name to the halves A ``[r, in]`` and B ``[out, r]`` of its change."""
    import torch
    from safetensors import SafetensorError
    from safetensors.torch import load_file

    try:
        tensors = load_file(str(path))
    except (SafetensorError, OSError) as error:
        raise_disk(error, path)
        raise CorruptFileError(f"{path} is damaged ({error}); copy it again") from None
    found: dict[str, dict[str, Tensor]] = {}
    for key, value in tensors.items():
        match = KEY.fullmatch(key.removeprefix(PREFIX))
        if match is None or value.ndim != 2:
            raise PrerequisiteError(f"{path} holds {key}, which is no part of a LoRA of linear layers; {MERGE}")
        if not bool(torch.isfinite(value).all()):
            raise CorruptFileError(f"{path}: tensor {key} holds numbers that are not finite; copy it again")
        found.setdefault(match["module"], {})[match["half"]] = value
    return found


def _of_pattern(patterns: dict[str, Any], module: str, default: Any) -> Any:
    """The value of the pattern that ``module``'s name ends with, as peft looks it up."""
    for pattern, value in patterns.items():
        if re.fullmatch(rf"(.*\.)?({pattern})", module):
            return value
    return default
