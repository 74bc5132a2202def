"""A model too large for one GPU: its layers laid out over all GPUs (``--device spread``), run so by accelerate.

Layers follow one another, so one GPU works at a time: this makes a model run that would not fit, and none run faster.
All but the layers stays on the first GPU: embedding, last norm and output head, the latent modules, and all keys and
values. What goes from layer to layer is moved by accelerate; what goes to the keys and values, by the engine.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import torch
from torch import nn

from colasearch.errors import PrerequisiteError

SPREAD = "spread"
ROOM = 0.5
"""Share of the first GPU's memory that weights may take: keys and values of all layers stand there, too."""
OTHERS = 0.9
"""The same of the other GPUs."""


def first_of_all() -> torch.device:
    """The first of several GPUs.

    Raises:
        PrerequisiteError: There are no several.
    """
    count = torch.cuda.device_count()
    if count < 2:
        raise PrerequisiteError(
            f"--device {SPREAD} lays a model's layers out over all GPUs, and torch sees {count} here; use --device "
            "cuda or cpu"
        )
    return torch.device("cuda", 0)


def is_spread(model: Any) -> bool:
    """Whether a model's weights stand on several devices."""
    return len(set((getattr(model, "hf_device_map", None) or {}).values())) > 1


def layout(folder: Path, dtype: torch.dtype) -> dict[str, int]:
    """Which GPU has which part of the model in ``folder``."""
    from transformers import AutoConfig, AutoModelForCausalLM

    config = AutoConfig.from_pretrained(str(folder), local_files_only=True, trust_remote_code=False)
    with torch.device("meta"):
        model = AutoModelForCausalLM.from_config(config)
    memory = {
        number: int(torch.cuda.mem_get_info(number)[0] * (OTHERS if number else ROOM))
        for number in range(torch.cuda.device_count())
    }
    return layers_over(model, memory, dtype)


def layers_over(model: nn.Module, memory: Mapping[int, int], dtype: torch.dtype) -> dict[str, int]:
    """Layers in order over devices of so many bytes, each filled to the same share; all else on the first.

    Raises:
        PrerequisiteError: They do not hold it, or it has no list of layers.
    """
    lists = [(name, m) for name, m in model.named_modules() if isinstance(m, nn.ModuleList) and len(m) > 1]
    if not lists:
        raise PrerequisiteError(f"{type(model).__name__} has no list of layers to lay out over GPUs; use --device cuda")
    name, layers = max(lists, key=lambda pair: _bytes(pair[1], dtype))
    whole, sizes = _bytes(model, dtype), [_bytes(layer, dtype) for layer in layers]
    others = dict.fromkeys(_others(model, name), min(memory))
    # Evenly, if that goes without cutting a layer; else as full as they get.
    for share in (min(1.0, 1.05 * whole / sum(memory.values())), 1.0):
        places = _filled(sizes, memory, whole - sum(sizes), share)
        if places is not None:
            return others | {f"{name}.{number}": place for number, place in enumerate(places)}
    raise PrerequisiteError(
        f"the model takes {whole / 2**30:.1f} GiB, and all GPUs {sum(memory.values()) / 2**30:.1f} GiB of weights "
        "beside keys and values; use more or larger GPUs, or --dtype bfloat16"
    )


def _filled(sizes: Sequence[int], memory: Mapping[int, int], first: int, share: float) -> list[int] | None:
    """A device for each layer, none filled beyond ``share``; None if the last has no room. ``first`` is taken."""
    places = sorted(memory)
    left = {place: int(memory[place] * share) for place in places}
    left[places[0]] -= first
    left[places[-1]] += memory[places[-1]] - int(memory[places[-1]] * share)
    found = []
    for size in sizes:
        while len(places) > 1 and left[places[0]] < size:
            del places[0]
        left[places[0]] -= size
        found.append(places[0])
    return found if min(left.values()) >= 0 else None


def _bytes(module: nn.Module, dtype: torch.dtype) -> int:
    return sum(p.numel() for p in module.parameters()) * dtype.itemsize


def _others(module: nn.Module, layers: str, at: str = "") -> list[str]:
    """Names of the largest parts of a model that have nothing to do with its layers."""
    names = []
    for name, child in module.named_children():
        full = f"{at}{name}"
        if layers.startswith(f"{full}."):
            names += _others(child, layers, f"{full}.")
        elif full != layers:
            names.append(full)
    return names
