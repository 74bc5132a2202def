"""A fine-tuned base inside a checkpoint folder: low-rank changes or replaced tensors, merged into the base at load.

``adapter.safetensors`` holds ``MODULE.lora_A.weight`` ``[r, in]`` and ``MODULE.lora_B.weight`` ``[out, r]`` under the
names of the peft package, so its tools can read it; loading needs no peft. ``base.safetensors`` holds whole tensors
under the base's own parameter names, in the element type in which they were trained, so nothing is lost in saving.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

import torch
from torch import Tensor, nn

from colasearch.disk import raise_disk
from colasearch.errors import CorruptFileError
from colasearch.model.base import BaseModel
from colasearch.model.config import BaseIdentity, TunedBase
from colasearch.storage.files import check_file, sha256_of

ADAPTER_NAME = "adapter.safetensors"
REPLACED_NAME = "base.safetensors"
PEFT_PREFIX = "base_model.model."
REMEDY = "copy the folder again from its source, or train it anew"


def write_tuned(folder: Path, kind: str, tensors: Mapping[str, Tensor], scale: float = 1.0) -> TunedBase:
    """Write the changed tensors into ``folder`` and say what was written.

    Args:
        folder: Where the file goes.
        kind: ``lora`` or ``weights``; see ``TunedBase``.
        tensors: By parameter name, for ``lora`` with ``.lora_A.weight`` and ``.lora_B.weight`` in place of ``.weight``.
        scale: alpha / rank.
    """
    from safetensors.torch import save_file

    lora = kind == "lora"
    name, prefix = (ADAPTER_NAME, PEFT_PREFIX) if lora else (REPLACED_NAME, "")
    data = {prefix + key: value.detach().cpu().contiguous().clone() for key, value in tensors.items()}
    save_file(data, str(folder / name), metadata={"format": "pt"})
    return TunedBase("lora" if lora else "weights", name, sha256_of(folder / name), scale)


def changed_names(path: Path, tuned: TunedBase) -> set[str]:
    """Names of the base's parameters that the file changes."""
    from safetensors import safe_open

    with safe_open(str(path), framework="pt") as file:
        keys = list(file.keys())
    if tuned.kind == "weights":
        return set(keys)
    return {_module_of(key) + ".weight" for key in keys}


def _module_of(key: str) -> str:
    return key.removeprefix(PEFT_PREFIX).removesuffix(".lora_A.weight").removesuffix(".lora_B.weight")


@torch.no_grad()
def apply_tuned(base: BaseModel, path: Path, tuned: TunedBase) -> None:
    """Merge the changes into ``base`` in place; its identity then stands for the changed weights.

    Raises:
        CorruptFileError: The file is missing or damaged, or does not fit the base.
    """
    from safetensors import SafetensorError
    from safetensors.torch import load_file

    if not path.is_file():
        raise CorruptFileError(f"{path} is missing, though config.json says that the base was fine-tuned; {REMEDY}")
    check_file(path, tuned.sha256, REMEDY)
    try:
        tensors = load_file(str(path))
    except (SafetensorError, OSError) as error:
        raise_disk(error, path)
        raise CorruptFileError(f"{path} is damaged ({error}); {REMEDY}") from None
    for key, value in tensors.items():
        check_numbers(value, f"{path}: tensor {key}", REMEDY)
    parameters = dict(base.model.named_parameters())
    if tuned.kind == "weights":
        for key, value in tensors.items():
            _parameter(parameters, key, value.shape, path).copy_(value)
    else:
        for module in sorted({_module_of(key) for key in tensors}):
            try:
                down, up = (tensors[f"{PEFT_PREFIX}{module}.lora_{half}.weight"] for half in "AB")
                change = tuned.scale * (up.float() @ down.float())
            except (KeyError, RuntimeError) as error:
                raise CorruptFileError(
                    f"{path}: the low-rank change of {module} is incomplete ({error}); {REMEDY}"
                ) from None
            weight = _parameter(parameters, f"{module}.weight", change.shape, path)
            weight.copy_(weight.float() + change.to(weight.device))
    base.identity = tuned_identity(base.identity, tuned)
    base.folder = None


def check_numbers(tensor: Tensor, where: str, remedy: str) -> None:
    """Refuse a tensor that cannot be weights.

    Raises:
        CorruptFileError: Its elements are whole numbers, or some are not finite.
    """
    if not tensor.is_floating_point():
        raise CorruptFileError(f"{where} is {tensor.dtype}; weights are floating-point numbers: {remedy}")
    if not bool(torch.isfinite(tensor).all()):
        raise CorruptFileError(f"{where} holds numbers that are not finite; {remedy}")


def tuned_identity(base: BaseIdentity, tuned: TunedBase) -> BaseIdentity:
    """What the weights are after the changes; caches of hidden states are kept by this."""
    digest = hashlib.sha256(f"{base.weights_sha256} {tuned.sha256} {tuned.scale}".encode()).hexdigest()
    return replace(base, weights_sha256=digest)


def _parameter(parameters: Mapping[str, nn.Parameter], name: str, shape: torch.Size, path: Path) -> nn.Parameter:
    found = parameters.get(name)
    if found is None or found.shape != shape:
        have = "no such tensor" if found is None else f"shape {tuple(found.shape)}"
        raise CorruptFileError(
            f"{path} changes {name} of shape {tuple(shape)}, but the base has {have}; "
            "use the base that config.json names"
        )
    return found
