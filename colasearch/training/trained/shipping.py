"""Export a trained model, its base included, into one small folder that loads anywhere and offline.

::

    NAME/config.json, model.safetensors    the latent modules, in float16 as training saves them
    NAME/README.md                         the model card: settings, measures, data, commands, commit
    NAME/SHA256SUMS
    NAME/base/                             config, tokenizer, model.safetensors, SHA256SUMS

``scripts/ship_model.py`` makes the models of ``colasearch/pretrained/`` with this. Greedy texts of the exported model
are compared with those of the original; where float16 changes one, the base is kept in float32.
"""

from __future__ import annotations

import json
import platform
import re
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Literal

import torch
from torch import Tensor

from colasearch.errors import InputError
from colasearch.model.base import BaseModel
from colasearch.model.card import metadata, model_card, table
from colasearch.model.config import BaseIdentity, LatentConfig, TunedBase
from colasearch.model.inverse_dynamics import AbsentIDM
from colasearch.model.latent_lm import LatentLM, write_modules
from colasearch.model.quiet import quiet_transformers
from colasearch.model.sources import PACKAGED_BASE
from colasearch.model.tuned import PEFT_PREFIX, write_tuned
from colasearch.storage.files import folder_atomic, read_json, sha256_of, write_json, write_sums
from colasearch.training.trained.greedy import Asked, Episodes, greedy_texts

MOST_BYTES = 16_000_000
"""Largest model that is shipped, and largest file of modules for a known base: it is in every installation."""
Storage = Literal["auto", "float16", "float32"]


@dataclass(frozen=True, slots=True)
class Origin:
    """What a reader of the card needs to make the model again.

    Attributes:
        commands: That trained it, in order.
        data: Files that it was trained on; their SHA-256 and number of lines go into the card.
        commit: Of the code that trained it.
        notes: Markdown for the end of the card: measurements, known faults.
    """

    commands: tuple[str, ...] = ()
    data: tuple[Path, ...] = ()
    commit: str = ""
    notes: str = ""


@dataclass(frozen=True, slots=True)
class Shipped:
    """What was written.

    Attributes:
        folder: Where.
        size: Bytes of all files.
        storage: Element type of the base's weights.
        compared: Greedy texts of original and export that were compared.
        same: Element type: how many of them are equal, for each that was tried.
        problems, solved: Problems (or episodes) that the texts are for, and how many are solved greedily.
        idm: Whether the inverse dynamics model is part of it.
        base: Whether the base is.
        what: "problems" or "episodes".
    """

    folder: Path
    size: int
    storage: str
    compared: int
    same: dict[str, int]
    problems: int
    solved: int
    idm: bool
    base: bool = True
    what: str = "problems"


def ship(
    source: str,
    folder: Path,
    asked: Asked,
    origin: Origin,
    *,
    storage: Storage = "auto",
    keep_untouched_base: bool = False,
    without_base: bool = False,
    most_bytes: int = MOST_BYTES,
) -> Shipped:
    """Export model ``source`` to ``folder``, whose last part is the new model's name.

    A fine-tuned base is written as it is after tuning. The IDM reads the base as it was before, so it is left out then:
    solving, benchmarks, RL and learning from search need none.

    Args:
        source: A folder of latent modules or of a base alone, or any other model name.
        folder: Replaced if it is there, once the new one is whole.
        asked: One task's problems, or episodes of an environment, for comparing greedy texts.
        origin: For the card.
        storage: Of the base's weights; ``auto`` is float16 unless that changes a greedy text.
        keep_untouched_base: For a fine-tuned base: write the base as it was, the changes beside it, and the IDM.
        without_base: Write the modules, and the changes of a fine-tuned base; users fetch the base itself by its name.
        most_bytes: Largest sum of all files; ``without_base``, largest file.

    Raises:
        InputError: A name that is no plain one, nothing asked, numbers too large for float16, or more than
            ``most_bytes``.
        PrerequisiteError: The source cannot be found.
    """
    if not re.fullmatch(r"[a-z0-9][a-z0-9.-]*", folder.name):
        raise InputError(f"the model's name is {folder.name!r}; use lower-case letters, digits, dots and hyphens")
    if not asked:
        raise InputError("there are no problems or episodes to compare greedy texts on; give at least one")
    lm = LatentLM.from_pretrained(source, "cpu", "float32")
    before = greedy_texts(lm, asked)
    if without_base and lm.latents is None:
        raise InputError(f"{source} has no latent modules, and without its base there is nothing to ship")
    untouched, idm = _take_apart(lm, keep_untouched_base or without_base)
    base_stage = None if without_base else trained_base(lm.latents.config.base.name if lm.latents else source)
    same: dict[str, int] = {}
    kinds = ["float16", "float32"] if storage == "auto" else [storage]
    with folder_atomic(folder, replace=True) as temporary:
        for kind in kinds:
            config = _write(lm, None if without_base else untouched, temporary, folder.name, kind, base_stage)
            again = LatentLM.from_pretrained(
                str(temporary if lm.latents else temporary / PACKAGED_BASE), "cpu", "float32"
            )
            after = greedy_texts(again, asked)
            same[kind] = sum(a == b for a, b in zip(before.texts, after.texts, strict=True))
            if same[kind] == len(before.texts):
                break
        compared = len(before.texts)
        what = "episodes" if isinstance(asked, Episodes) else "problems"
        result = Shipped(folder, 0, kind, compared, same, len(asked), after.solved, idm, not without_base, what)
        (temporary / "README.md").write_text(_card(again.base, config, result, origin, base_stage), encoding="utf-8")
        write_sums(temporary)
        sizes = [p.stat().st_size for p in temporary.rglob("*") if p.is_file()]
        size = sum(sizes)
        if (max(sizes) if without_base else size) > most_bytes:
            what = f"a file of {max(sizes):,} bytes" if without_base else f"{size:,} bytes with its base"
            raise InputError(
                f"{folder.name} has {what} in {kind}; at most {most_bytes:,} are shipped: train a smaller base or "
                "fewer changes, ship in float16, or leave out the untouched base"
            )
        for path in temporary.rglob("*"):
            path.chmod(0o755 if path.is_dir() else 0o644)  # safetensors' own files are for their owner alone
    return replace(result, size=size)


def trained_base(base: str) -> dict[str, Any] | None:
    """Settings and held-out measures of the ``train base`` run that ``base`` is the model of; None if it is of none."""
    run = Path(base).expanduser().parent
    try:
        manifest = read_json(run / "manifest.json")
        lines = (run / "metrics.jsonl").read_text(encoding="utf-8").splitlines()
    except OSError:
        return None
    if manifest.get("kind") != "base":
        return None
    heldout: dict[str, Any] = {}
    for line in lines:
        found = {k.removeprefix("heldout/"): v for k, v in json.loads(line).items() if k.startswith("heldout/")}
        heldout = found or heldout
    return {"config": manifest["config"], "heldout": heldout}


def _take_apart(lm: LatentLM, keep_untouched_base: bool) -> tuple[BaseModel, bool]:
    """The base to write, and whether the IDM can stay; a fine-tuned model loses one or the other's simplicity."""
    modules = lm.latents
    if modules is None:
        return lm.base, False
    if modules.config.tuned is None:
        return lm.base, bool(modules.config.idm_layers)
    if keep_untouched_base:
        return BaseModel.load(modules.config.base.name, "cpu", "float32"), bool(modules.config.idm_layers)
    modules.idm = AbsentIDM()
    modules.config = replace(modules.config, tuned=None, idm_layers=0, idm_ffn=0)
    return lm.base, False


def _write(
    lm: LatentLM, base: BaseModel | None, folder: Path, name: str, kind: str, base_stage: dict[str, Any] | None
) -> LatentConfig | None:
    """Everything but card and outer sums; returns the config that was written."""
    dtype = {"float16": torch.float16, "float32": torch.float32}[kind]
    digest = "" if base is None else _write_base(base, folder / PACKAGED_BASE, dtype)
    modules = lm.latents
    if modules is None:
        return None
    config = modules.config
    stages = {**({"base": base_stage} if base_stage else {}), **config.training}
    tuned = (
        None
        if config.tuned is None or lm.tuned_path is None
        else _write_tuned(lm.tuned_path, config.tuned, folder, dtype)
    )
    identity = config.base if base is None else BaseIdentity(name=name, sha256=digest, weights_sha256=digest)
    written = replace(config, base=identity, tuned=tuned, training=stages)
    modules.config = written
    write_modules(modules, folder)
    write_sums(folder)
    modules.config = config  # as it was, in case the next element type is tried
    return written


def _write_base(base: BaseModel, folder: Path, dtype: torch.dtype) -> str:
    """Write the base as a folder that transformers reads; the SHA-256 of its weights."""
    from safetensors.torch import save_file

    folder.mkdir(exist_ok=True)
    tied = bool(base.model.config.tie_word_embeddings)
    tensors = {k: v for k, v in base.model.state_dict().items() if not (tied and k == "lm_head.weight")}
    save_file(_stored(tensors, dtype), str(folder / "model.safetensors"), metadata={"format": "pt"})
    config = base.model.config.to_dict()
    config.pop("_name_or_path", None)
    config.update(architectures=[type(base.model).__name__], dtype=str(dtype).removeprefix("torch."))
    write_json(folder / "config.json", config)
    with quiet_transformers():
        base.model.generation_config.save_pretrained(str(folder))
        base.tokenizer.save_pretrained(str(folder))
    write_sums(folder)
    return sha256_of(folder / "model.safetensors")


def _write_tuned(path: Path, tuned: TunedBase, folder: Path, dtype: torch.dtype) -> TunedBase:
    from safetensors.torch import load_file

    tensors = {key.removeprefix(PEFT_PREFIX): value for key, value in load_file(str(path)).items()}
    return write_tuned(folder, tuned.kind, _stored(tensors, dtype), tuned.scale)


def _stored(tensors: dict[str, Tensor], dtype: torch.dtype) -> dict[str, Tensor]:
    stored = {key: value.detach().to("cpu", dtype).contiguous() for key, value in tensors.items()}
    for key, value in stored.items():
        if not bool(torch.isfinite(value).all()):
            raise InputError(f"tensor {key} has numbers that {dtype} cannot hold; ship the base in float32")
    return stored


def _storage_note(shipped: Shipped) -> str:
    what = "base's weights" if shipped.base else "changes of the base"
    tried = "; ".join(f"stored in {kind}, {same} are the same" for kind, same in shipped.same.items())
    return (
        f"The {what} are stored in {shipped.storage}, the latent modules' in float16. {shipped.compared} "
        f"greedy texts on {shipped.problems} held-out {shipped.what} (by the base alone, and under the policy's codes "
        "where there are any) were compared, token for token, with those of the model before the export, in float32 on "
        f"a CPU: {tried}. Greedily {shipped.solved} of the {shipped.problems} {shipped.what} are solved.\n"
    )


def _card(
    base: BaseModel, config: LatentConfig | None, shipped: Shipped, origin: Origin, base_stage: dict[str, Any] | None
) -> str:
    import transformers

    from colasearch import __version__

    parts = []
    if config is not None:
        parts.append(model_card(config, bundled=shipped.base))
    else:
        parts.append(metadata("text-generation", library="transformers", tags=("colasearch",)))
        parts.append(f"# {shipped.folder.name}\n\nA base model without latent modules, in the folder base.\n")
        if base_stage:
            parts += ["## Stage: base\n", table(base_stage["config"]), table(base_stage["heldout"])]
    hf = base.model.config
    parts += [
        "## Base\n",
        table(
            {
                "architecture": type(base.model).__name__,
                "parameters": f"{sum(p.numel() for p in base.model.parameters()):,}",
                "width, layers, heads": f"{hf.hidden_size}, {hf.num_hidden_layers}, {hf.num_attention_heads}",
                "context": base.context_length,
                "vocabulary": base.vocab_size,
            }
        ),
        "## Storage\n",
        _storage_note(shipped),
    ]
    if config is not None and not shipped.idm:
        parts.append(
            "The inverse dynamics model is left out: it reads the base as it was before fine-tuning, which is not "
            "here. `train policy --data` and `train evaluate` need it and refuse; everything else works.\n"
        )
    parts.append("## How it was made\n")
    commit = f" at commit {origin.commit}" if origin.commit else ""
    parts.append(
        f"colasearch {__version__}{commit}; exported with Python {platform.python_version()}, "
        f"torch {torch.__version__}, transformers {transformers.__version__}.\n"
    )
    if origin.commands:
        parts.append("\n".join(f"    {line}" for command in origin.commands for line in command.splitlines()) + "\n")
    if origin.data:
        parts.append("| data | lines | SHA-256 of the file |\n| --- | --- | --- |")
        for path in origin.data:
            with path.open("rb") as stream:
                lines = sum(1 for line in stream if line.strip())
            parts[-1] += f"\n| {path.name} | {lines:,} | {sha256_of(path)} |"
        parts[-1] += "\n"
    if origin.notes:
        parts.append(origin.notes.strip() + "\n")
    return "\n".join(parts)
