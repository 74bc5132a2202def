"""Reads the released CoLA checkpoints (``IntentionForCausalLM`` of LAMDA-RL/CoLA) into a model folder of ours.

A released folder is one Llama with more in it: ``model.layers`` is the base, ``model.action_layers`` the inverse
dynamics model, ``model.action_code_book`` and ``model.action_merge_layers`` the world model's head, and
``model.policy_layers`` the policy. Config field ``v`` tells the variants that share this forward pass (cola-spec
section 1): 1 and 2, and 0, which has no inverse dynamics model. Its Python file is never run.

The safetensors themselves are read, not their index: the released repository's index names files that are not there.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from colasearch.errors import CorruptFileError, PrerequisiteError
from colasearch.model.config import BaseIdentity, LatentConfig
from colasearch.model.sources import HUB_FILES, PACKAGED_BASE, Report, find_base, silent
from colasearch.storage.files import folder_atomic, read_json, write_json, write_sums

SHARD_BYTES = 2 << 30
"""Largest file of base weights that is written; one of them, and the latent modules, are held in memory."""
OWN_FIELDS = ("v", "num_code", "num_action_layer", "num_policy_layer", "num_dyna_layer", "auto_map")
VERSIONS = (0, 1, 2)
BLOCK_PARTS = {
    "input_layernorm": "attention_norm",
    "post_attention_layernorm": "mlp_norm",
    **{f"self_attn.{name}_proj": name for name in "qkvo"},
    **{f"mlp.{name}_proj": name for name in ("gate", "up", "down")},
}
CARD = """# Imported CoLA model

{codes} latent actions, world model head and policy of a released CoLA checkpoint (arXiv 2503.21383), read by
`colasearch models import-cola`. Its base is in the folder base.
"""
STACKS = {"action": "idm", "policy": "policy"}


@dataclass(frozen=True, slots=True)
class Imported:
    """What came of a released checkpoint.

    Attributes:
        folder: The model folder: latent modules, and the base in its sub-folder ``base``.
        config: Of the latent modules.
        base_tensors, latent_tensors: How many tensors went where.
    """

    folder: Path
    config: LatentConfig
    base_tensors: int
    latent_tensors: int


def import_cola(source: Path, folder: Path, report: Report = silent) -> Imported:
    """Write the released checkpoint in ``source`` as model folder ``folder``.

    Args:
        source: A folder with ``config.json`` and safetensors shards.
        folder: The folder to make; it must not exist.
        report: Called with a line of text when something slow starts.

    Raises:
        PrerequisiteError: ``source`` is no such folder, or of a variant whose forward pass is another.
        CorruptFileError: A tensor is missing, in two files, or of another shape than the config says.
    """
    if folder.exists():
        raise PrerequisiteError(f"{folder} exists; give a folder that is to be made")
    settings = _settings(source)
    tensors = _Tensors(source)
    base_names = [name for name in tensors.names if not _is_latent(name)]
    with folder_atomic(folder) as temporary:
        report(f"writing {len(base_names)} tensors of the base")
        identity = _write_base(settings, source, tensors, base_names, temporary / PACKAGED_BASE)
        report(f"writing {len(tensors.names) - len(base_names)} tensors of the latent modules")
        config = _config(settings, tensors, replace(identity, name=PACKAGED_BASE))
        count = _write_latents(config, tensors, temporary)
    return Imported(folder, config, len(base_names), count)


def _is_latent(name: str) -> bool:
    return name.startswith(("model.action_", "model.policy_"))


def _settings(source: Path) -> dict[str, Any]:
    if not (source / "config.json").is_file():
        raise PrerequisiteError(f"{source} has no config.json; give the folder of a released CoLA model")
    settings = read_json(source / "config.json")
    missing = [name for name in OWN_FIELDS[1:5] if name not in settings]
    if missing:
        raise PrerequisiteError(
            f"{source / 'config.json'} has no {', '.join(missing)}: this is no CoLA checkpoint; an ordinary model "
            "needs no import: give its folder as --model"
        )
    if settings.get("v") not in VERSIONS:
        raise PrerequisiteError(
            f"{source / 'config.json'} has v = {settings.get('v')!r}; the variants {VERSIONS} can be read: the older "
            "ones let the code in before the last layers, so that keys and values depend on it"
        )
    for field, only in (("hidden_act", "silu"), ("attention_bias", False), ("mlp_bias", False)):
        if settings.get(field, only) != only:
            raise PrerequisiteError(
                f"{source / 'config.json'} has {field} = {settings[field]!r}; only {only!r} is read"
            )
    return settings


class _Tensors:
    """The tensors of a folder's safetensors files, by name, read when they are asked for."""

    def __init__(self, source: Path) -> None:
        from safetensors import SafetensorError, safe_open

        self.source = source
        self._homes: dict[str, Any] = {}
        files = sorted(source.glob("*.safetensors"))
        if not files:
            raise PrerequisiteError(f"{source} has no .safetensors file; no pickled weights are read")
        for path in files:
            try:
                file = safe_open(str(path), framework="pt")
            except (SafetensorError, OSError) as error:
                raise CorruptFileError(f"{path} is damaged ({error}); fetch it again") from None
            for name in file.keys():  # type: ignore[no-untyped-call]  # noqa: SIM118 (it is no dict)
                if name in self._homes:
                    raise CorruptFileError(
                        f"{path} has tensor {name}, as another file of {source} has; keep one set of shards"
                    )
                self._homes[name] = file

    @property
    def names(self) -> list[str]:
        """All names, sorted."""
        return sorted(self._homes)

    def __contains__(self, name: str) -> bool:
        return name in self._homes

    def __getitem__(self, name: str) -> Tensor:
        if name not in self._homes:
            raise CorruptFileError(f"{self.source} has no tensor {name}; a shard is missing: fetch the folder again")
        tensor: Tensor = self._homes[name].get_tensor(name)
        return tensor

    def layers(self, prefix: str) -> int:
        """How many layers there are under ``prefix``."""
        numbers = {int(n[len(prefix) + 1 :].split(".")[0]) for n in self._homes if n.startswith(prefix + ".")}
        return len(numbers)


def _write_base(
    settings: dict[str, Any], source: Path, tensors: _Tensors, names: Iterable[str], folder: Path
) -> BaseIdentity:
    """Write the base as an ordinary Llama, one shard in memory at a time."""
    import shutil

    from safetensors.torch import save_file

    folder.mkdir()
    for pattern in HUB_FILES:
        for path in source.glob(pattern):
            if path.suffix != ".safetensors" and path.name not in ("config.json", "model.safetensors.index.json"):
                shutil.copyfile(path, folder / path.name)
    config = {k: v for k, v in settings.items() if k not in OWN_FIELDS}
    write_json(folder / "config.json", {**config, "architectures": ["LlamaForCausalLM"], "model_type": "llama"})
    where, total = {}, 0
    for number, shard in enumerate(_shards(tensors, names)):
        name = f"model-{number:05d}.safetensors"
        save_file(shard, str(folder / name), metadata={"format": "pt"})
        where.update(dict.fromkeys(shard, name))
        total += sum(t.nbytes for t in shard.values())
    write_json(folder / "model.safetensors.index.json", {"metadata": {"total_size": total}, "weight_map": where})
    write_sums(folder)
    return find_base(str(folder)).identity


def _shards(tensors: _Tensors, names: Iterable[str]) -> Iterator[dict[str, Tensor]]:
    shard: dict[str, Tensor] = {}
    size = 0
    for name in names:
        tensor = tensors[name]
        if shard and size + tensor.nbytes > SHARD_BYTES:
            yield shard
            shard, size = {}, 0
        shard[name] = tensor
        size += tensor.nbytes
    yield shard


def _config(settings: dict[str, Any], tensors: _Tensors, base: BaseIdentity) -> LatentConfig:
    width, heads, ffn = (int(settings[k]) for k in ("hidden_size", "num_attention_heads", "intermediate_size"))
    rope = {**(settings.get("rope_scaling") or {}), **(settings.get("rope_parameters") or {})}
    theta = float(rope.pop("rope_theta", settings.get("rope_theta", 10000.0)))
    if rope.pop("type", "default") != "default" or rope.get("rope_type", "default") == "default":
        rope = {}
    return LatentConfig(
        base=base,
        hidden_size=width,
        vocab_size=int(settings["vocab_size"]),
        num_codes=int(settings["num_code"]),
        num_heads=heads,
        num_kv_heads=int(settings.get("num_key_value_heads") or heads),
        head_dim=int(settings.get("head_dim") or width // heads),
        rope_theta=theta,
        rope_scaling=rope,
        norm_eps=float(settings.get("rms_norm_eps", 1e-6)),
        idm_layers=tensors.layers("model.action_layers"),
        idm_ffn=ffn,
        policy_layers=tensors.layers("model.policy_layers"),
        policy_ffn=ffn,
        merge_layers=tensors.layers("model.action_merge_layers"),
        merge_ffn=ffn,
        output_form="subtractive",
        training={"import": {"config": {"format": "IntentionForCausalLM", "v": settings["v"]}, "heldout": {}}},
    )


def _write_latents(config: LatentConfig, tensors: _Tensors, folder: Path) -> int:
    from safetensors.torch import save_file

    from colasearch.model.latent_lm import WEIGHTS_NAME, LatentModules

    found = dict(_latents(config, tensors))
    with torch.device("meta"):
        wanted = {key: tuple(value.shape) for key, value in LatentModules(config).state_dict().items()}
    for key in sorted(wanted.keys() | found.keys()):
        have = tuple(found[key].shape) if key in found else None
        if wanted.get(key) != have:
            raise CorruptFileError(
                f"{tensors.source}: {key} has shape {have}, config.json says {wanted.get(key)}; a shard is missing, "
                "or the config belongs to another model"
            )
    save_file(found, str(folder / WEIGHTS_NAME), metadata={"format": "pt"})
    write_json(folder / "config.json", config.to_dict())
    (folder / "README.md").write_text(CARD.format(codes=config.num_codes))
    write_sums(folder)
    return len(found)


def _latents(config: LatentConfig, tensors: _Tensors) -> Iterator[tuple[str, Tensor]]:
    """The latent modules' tensors under our names."""
    counts = {"action": config.idm_layers, "policy": config.policy_layers}
    for theirs, ours in STACKS.items():
        if not counts[theirs]:
            continue
        for layer in range(counts[theirs]):
            for part, name in BLOCK_PARTS.items():
                yield f"{ours}.blocks.{layer}.{name}.weight", tensors[f"model.{theirs}_layers.{layer}.{part}.weight"]
        for part in ("norm", "head"):
            yield f"{ours}.{part}.weight", tensors[f"model.{theirs}_{part}.weight"]
    # A linear layer from one-hot codes: its columns are the codes' vectors.
    yield "codebook.weight", tensors["model.action_code_book.weight"].T.contiguous()
    for layer in range(config.merge_layers):
        prefix, ours = f"model.action_merge_layers.{layer}", f"merge.layers.{layer}"
        for part in ("gate", "up"):
            both = tensors[f"{prefix}.{part}_proj.weight"]  # [F, 2 D] on [state; code]
            yield f"{ours}.{part}_state.weight", both[:, : config.hidden_size].contiguous()
            yield f"{ours}.{part}_code.weight", both[:, config.hidden_size :].contiguous()
        yield f"{ours}.down.weight", tensors[f"{prefix}.down_proj.weight"]
