"""A model's base for other programs: a plain Transformers folder, or a LoRA folder as peft reads it.

Latent modules are left out: no other program knows them. What goes is the base as ``colasearch`` runs it, with the
changes of its fine-tuning.
"""

from __future__ import annotations

import re
from pathlib import Path

from colasearch.errors import InputError, PrerequisiteError
from colasearch.model.adapter import CONFIG_NAME, WEIGHTS_NAME
from colasearch.model.config import LatentConfig, TunedBase
from colasearch.model.folders import latents_folder
from colasearch.model.known import KNOWN
from colasearch.model.latent_lm import LatentLM, load_latents
from colasearch.model.tuned import changed_names
from colasearch.storage.files import check_file, write_json


def export_base(model: str, folder: Path) -> list[str]:
    """Write the base of ``model``, its fine-tuning merged in, as a Transformers folder of safetensors.

    Args:
        model: Known name, folder or hub name.
        folder: New, or empty.

    Returns:
        Names of the files written.

    Raises:
        InputError: The folder is there and not empty.
        PrerequisiteError: The model cannot be found.
        CorruptFileError: It is damaged.
    """
    _check_place(folder)
    base = LatentLM.from_pretrained(model, "cpu", "auto").base
    folder.mkdir(parents=True, exist_ok=True)
    base.model.save_pretrained(str(folder))
    base.tokenizer.save_pretrained(str(folder))
    return sorted(path.name for path in folder.iterdir())


def export_peft(model: str, folder: Path) -> list[str]:
    """Write the low-rank changes of a fine-tuned model as a LoRA folder that peft reads.

    Args:
        model: Known name or checkpoint folder of latent modules.
        folder: New, or empty.

    Returns:
        Names of the files written.

    Raises:
        InputError: The folder is there and not empty.
        PrerequisiteError: The model has no low-rank changes.
        CorruptFileError: It is damaged.
    """
    _check_place(folder)
    source = latents_folder(model)
    config = None if source is None else load_latents(source).config
    tuned = None if config is None else config.tuned
    if source is None or config is None or tuned is None or tuned.kind != "lora":
        why = "its base is not fine-tuned" if tuned is None else "whole tensors of its base were trained"
        raise PrerequisiteError(
            f"{model!r} has no low-rank changes ({why}), so there is nothing for peft; export it with --format "
            "safetensors"
        )
    path = source / tuned.file
    check_file(path, tuned.sha256, "copy the folder again from its source")
    folder.mkdir(parents=True, exist_ok=True)
    (folder / WEIGHTS_NAME).write_bytes(path.read_bytes())
    write_json(folder / CONFIG_NAME, _adapter_config(path, config, tuned))
    return sorted(one.name for one in folder.iterdir())


def _adapter_config(path: Path, config: LatentConfig, tuned: TunedBase) -> dict[str, object]:
    """What peft wants to know of a LoRA file.

    Raises:
        PrerequisiteError: Its layers have several ranks, so no one number is both their scale and alpha / rank.
    """
    from safetensors import safe_open

    with safe_open(str(path), framework="pt") as file:
        ranks = {file.get_slice(key).get_shape()[0] for key in file.keys() if ".lora_A." in key}  # noqa: SIM118
    if len(ranks) != 1:
        raise PrerequisiteError(f"{path} has layers of the ranks {sorted(ranks)}; export it with --format safetensors")
    rank = ranks.pop()
    known = KNOWN.get(config.base.name)
    modules = {re.sub(r"\.weight$", "", name).rpartition(".")[2] for name in changed_names(path, tuned)}
    return {
        "peft_type": "LORA",
        "task_type": "CAUSAL_LM",
        "base_model_name_or_path": (known.hub if known else None) or config.base.name,
        "r": rank,
        "lora_alpha": rank * tuned.scale,
        "lora_dropout": 0.0,
        "bias": "none",
        "target_modules": sorted(modules),
        "inference_mode": True,
    }


def _check_place(folder: Path) -> None:
    if folder.exists() and (not folder.is_dir() or any(folder.iterdir())):
        raise InputError(f"{folder} is there already and is no empty folder; give a new one")
