"""The whole latent-action language model: base, latent modules, and their checkpoint folder.

A checkpoint holds ``config.json``, ``model.safetensors`` (latent modules only; the base is named by SHA-256, not
copied), ``README.md`` (the model card) and ``SHA256SUMS``; after guided fine-tuning also the changes of the base
(``tuned.py``). A shipped model has its base with it, in the sub-folder ``base`` (``training/trained/shipping.py``).
Nothing in it is ever unpickled.
"""

from __future__ import annotations

import dataclasses
import math
import shutil
import warnings
from collections.abc import Iterator
from importlib import import_module
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from colasearch.disk import raise_disk
from colasearch.errors import CorruptFileError, PrerequisiteError
from colasearch.model.base import BaseModel
from colasearch.model.card import model_card
from colasearch.model.codebook import Codebook
from colasearch.model.config import LatentConfig
from colasearch.model.folders import latents_folder
from colasearch.model.inverse_dynamics import AbsentIDM, InverseDynamicsModel
from colasearch.model.policy import Policy
from colasearch.model.sharing import add_base, shared_card
from colasearch.model.sources import (
    REINSTALL,
    Report,
    base_nearby,
    bundled_base,
    hub_snapshot,
    is_hub_name,
    pretrained_root,
    silent,
)
from colasearch.model.tuned import apply_tuned, check_numbers
from colasearch.model.value import QHead, ValueHead
from colasearch.model.world_model import MergeHead
from colasearch.storage.files import SUMS_NAME, check_sums, folder_atomic, read_json, write_json, write_sums

WEIGHTS_NAME = "model.safetensors"


class LatentModules(nn.Module):
    """IDM (unless ``idm_layers`` is 0), codebook, merge head, policy; value and Q heads where the config has them."""

    def __init__(self, config: LatentConfig) -> None:
        super().__init__()
        self.config = config
        self.idm = InverseDynamicsModel(config) if config.idm_layers else AbsentIDM()
        self.codebook = Codebook(config.num_codes, config.hidden_size)
        self.merge = MergeHead(config)
        self.policy = Policy(config)
        self.value = ValueHead(config.hidden_size, config.value_hidden) if config.value_hidden else None
        self.q = QHead(config.hidden_size, config.num_codes) if config.q_head else None


class LatentLM:
    """A base model with or without latent modules.

    Attributes:
        name: What the user called it.
        base: The frozen base.
        latents: The latent modules; None when the model has none (then only sampled actions work).
        tuned_path: The file with the changes of a fine-tuned base (already merged into ``base``); None without.
        card: The model card that it was loaded with; empty without.
    """

    def __init__(
        self,
        name: str,
        base: BaseModel,
        latents: LatentModules | None,
        tuned_path: Path | None = None,
        card: str = "",
    ) -> None:
        self.name, self.base, self.latents, self.tuned_path, self.card = name, base, latents, tuned_path, card

    @classmethod
    def from_pretrained(
        cls,
        name: str,
        device: str = "auto",
        dtype: str = "auto",
        report: Report = silent,
        *,
        whole_latents: bool = False,
        run_only: bool = False,
    ) -> LatentLM:
        """Load a model by known name, checkpoint folder of latent modules, base folder or hub name.

        A hub name may end in a branch, tag or commit: ``owner/model@revision``. Private models need ``hf auth login``.

        With ``whole_latents`` the latent modules are float32 whatever the base is: what is trained, or saved again,
        must not be rounded to the element type that the base happens to run in. With ``run_only`` only the engine of
        this process will use the model, which then needs half the memory on a CPU (``BaseModel.load``).

        Raises:
            PrerequisiteError: A part cannot be found.
            CorruptFileError: A part is damaged, or the latent modules do not fit the base.
        """
        if is_hub_name(name):
            hub_snapshot(name, name, report)
        folder = latents_folder(name)
        if folder is None:
            return cls(name, BaseModel.load(name, device, dtype, report, run_only=run_only), None)
        import_module("colasearch.model.auto")  # transformers knows our folders from here on
        latents = load_latents(folder)
        inside = bundled_base(folder)
        if inside is None or folder == pretrained_root() / latents.config.base.name:
            inside = None  # the base's name is enough, and stays the same wherever colasearch is installed
        inside = inside or base_nearby(folder, latents.config.base.name)
        base = BaseModel.load(
            latents.config.base.name if inside is None else str(inside), device, dtype, report,
            run_only=run_only and latents.config.tuned is None,
        )  # fmt: skip
        _check_fit(latents.config, base, folder)
        if inside is not None:
            # Models trained from this one must find the same base again.
            latents.config = dataclasses.replace(latents.config, base=base.identity)
        tuned = latents.config.tuned
        tuned_path = None if tuned is None else folder / tuned.file
        if tuned is not None and tuned_path is not None:
            apply_tuned(base, tuned_path, tuned)
        latents.to(device=base.device, dtype=torch.float32 if whole_latents else base.dtype)
        card = folder / "README.md"
        return cls(name, base, latents, tuned_path, card.read_text("utf-8", "replace") if card.is_file() else "")

    @property
    def num_codes(self) -> int:
        """Size K of the codebook (64 sampled actions for a model without one)."""
        return self.latents.config.num_codes if self.latents else 64

    def require_latents(self) -> LatentModules:
        """The latent modules.

        Raises:
            PrerequisiteError: The model has none.
        """
        if self.latents is None:
            raise PrerequisiteError(
                f"model {self.name!r} has no latent modules; train them with `colasearch train actions`, give the "
                "trained folder as --model, or search over sampled actions with --actions sampled"
            )
        return self.latents

    def require_q(self) -> QHead:
        """The Q head.

        Raises:
            PrerequisiteError: The model has none.
        """
        head = self.require_latents().q
        if head is None:
            raise PrerequisiteError(
                f"model {self.name!r} has no Q head, which --values q needs; train one with `colasearch train value "
                "--head q` and give the trained folder as --model, or use --values head or rollouts"
            )
        return head

    def save_pretrained(self, folder: str | Path, card: str = "") -> None:
        """Write the latent modules in half precision to ``folder``, replacing a checkpoint that is there.

        The changes of a fine-tuned base go with them, bit by bit. Without ``card`` one is written from the config.
        """
        save_latents(self.require_latents(), Path(folder), card, tuned_path=self.tuned_path)

    def push_to_hub(
        self,
        repo_id: str,
        *,
        commit_message: str = "Push model using colasearch",
        private: bool | None = None,
        token: str | None = None,
        branch: str | None = None,
        create_pr: bool = False,
        card: str = "",
    ) -> str:
        """Upload the latent modules and their card to the hub, so that ``from_pretrained(repo_id)`` loads them.

        A base that is on the hub, or that colasearch knows by name, is only named; any other goes along.

        Args:
            repo_id: ``owner/model``; made if it is not there.
            commit_message: Of the commit.
            private: Whether others may not see it, where it is made; None: as the account's settings say.
            token: Of the account; None: the one of ``hf auth login``.
            branch: Where to; None: ``main``.
            create_pr: Open a pull request instead.
            card: The model card; empty: the one that the model was loaded with, else one written from its config.

        Returns:
            The address of the commit.

        Raises:
            PrerequisiteError: The model has no latent modules, or its base cannot go along.
        """
        import tempfile

        from huggingface_hub import HfApi

        modules, api = self.require_latents(), HfApi(token=token)
        with tempfile.TemporaryDirectory() as parent:
            folder = Path(parent) / "model"
            save_latents(modules, folder, shared_card(modules.config, card or self.card), tuned_path=self.tuned_path)
            add_base(folder, modules.config)
            repo = api.create_repo(repo_id, private=private, exist_ok=True).repo_id
            return str(
                api.upload_folder(
                    repo_id=repo, folder_path=str(folder), commit_message=commit_message, revision=branch,
                    create_pr=create_pr,
                )
            )  # fmt: skip


def save_latents(
    modules: LatentModules,
    folder: Path,
    card: str = "",
    dtype: torch.dtype = torch.float16,
    tuned_path: Path | None = None,
) -> None:
    """Write a checkpoint folder atomically: it is the old one or the complete new one, never a mixture."""
    with folder_atomic(folder, replace=True) as temporary:
        write_modules(modules, temporary, dtype)
        if tuned_path is not None and modules.config.tuned is not None:
            shutil.copyfile(tuned_path, temporary / modules.config.tuned.file)
        (temporary / "README.md").write_text(card or model_card(modules.config), encoding="utf-8")
        write_sums(temporary)


def write_modules(modules: LatentModules, folder: Path, dtype: torch.dtype = torch.float16) -> None:
    """Write weights and ``config.json`` into ``folder``, which is there; card and sums are the caller's."""
    from safetensors.torch import save_file

    tensors = {k: v.detach().to("cpu", dtype).contiguous() for k, v in modules.state_dict().items()}
    save_file(tensors, str(folder / WEIGHTS_NAME), metadata={"format": "pt"})
    write_json(folder / "config.json", modules.config.to_dict())


def load_latents(folder: Path) -> LatentModules:
    """Read a checkpoint folder into float32 modules in evaluation mode.

    Raises:
        CorruptFileError: A file is missing, damaged, from a newer version, or does not fit its config.
    """
    from safetensors import SafetensorError
    from safetensors.torch import load_file

    remedy = (
        REINSTALL if folder.parent == pretrained_root() else "copy the folder again from its source, or train it anew"
    )
    sums = check_sums(folder, remedy)
    for name in ("config.json", WEIGHTS_NAME):
        if name not in sums:
            raise CorruptFileError(f"{folder / SUMS_NAME} does not list {name}; {remedy}")
    config = LatentConfig.from_dict(read_json(folder / "config.json"), str(folder / "config.json"))
    try:
        tensors = load_file(str(folder / WEIGHTS_NAME))
    except (SafetensorError, OSError) as error:
        raise_disk(error, folder / WEIGHTS_NAME)
        raise CorruptFileError(f"{folder / WEIGHTS_NAME} is damaged ({error}); {remedy}") from None
    with torch.device("meta"):
        modules = LatentModules(config)
    wanted = {key: tuple(value.shape) for key, value in modules.state_dict().items()}
    found = {key: tuple(value.shape) for key, value in tensors.items()}
    for key in sorted(wanted.keys() | found.keys()):
        if wanted.get(key) != found.get(key):
            raise CorruptFileError(
                f"{folder / WEIGHTS_NAME}: tensor {key} has shape {found.get(key)}, config.json says "
                f"{wanted.get(key)}; {remedy}"
            )
        check_numbers(tensors[key], f"{folder / WEIGHTS_NAME}: tensor {key}", remedy)
    modules.load_state_dict({k: v.float() for k, v in tensors.items()}, assign=True)
    return modules.requires_grad_(False).eval()


def _check_fit(config: LatentConfig, base: BaseModel, folder: Path) -> None:
    for name, ours, theirs in (
        ("hidden size", config.hidden_size, base.hidden_size),
        ("vocabulary", config.vocab_size, base.vocab_size),
    ):
        if ours != theirs:
            raise CorruptFileError(
                f"{folder} was trained on a base with {name} {ours}, but {base.identity.name} has {theirs}; "
                "use the base that its config.json names"
            )
    if config.base.sha256 and config.base.sha256 != base.identity.sha256:
        warnings.warn(
            f"{folder.name} was trained on {config.base.name} {config.base.revision}, and "
            f"{base.identity.revision or 'a local folder'} is loaded: same shape, other weights "
            f"(SHA-256 {base.identity.sha256[:12]}, not {config.base.sha256[:12]}); results differ a little",
            stacklevel=3,
        )


def new_latents(base: BaseModel, seed: int, training: dict[str, Any] | None = None, **sizes: Any) -> LatentModules:
    """Fresh latent modules of the shape that ``latent_config`` gives, with weights fixed by ``seed``."""
    config = latent_config(base, training, **sizes)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        return LatentModules(config)


def latent_config(base: BaseModel, training: dict[str, Any] | None = None, **sizes: Any) -> LatentConfig:
    """The shape of fresh latent modules, whose attention follows the base's.

    Args:
        base: The base they are for.
        training: Notes on the training, kept in ``config.json``.
        sizes: Fields of ``LatentConfig`` that differ from the defaults.
    """
    hf = base.model.config
    width = base.hidden_size
    heads = int(getattr(hf, "num_attention_heads", 8))
    head_dim = int(getattr(hf, "head_dim", None) or width // heads)
    rope = getattr(hf, "rope_parameters", None) or {}
    sizes = {
        "num_heads": heads,
        "num_kv_heads": int(getattr(hf, "num_key_value_heads", None) or heads),
        "head_dim": head_dim + head_dim % 2,
        "rope_theta": float(rope.get("rope_theta") or getattr(hf, "rope_theta", None) or 10000.0),
        "idm_ffn": width,
        "policy_ffn": width,
        # Whole vector registers: what is left over is rounded differently, and would depend on the batch.
        "merge_ffn": 32 * math.ceil(width * 5 / 9 / 32),
        **sizes,
    }
    return LatentConfig(
        base=base.identity, hidden_size=width, vocab_size=base.vocab_size, training=training or {}, **sizes
    )


def world_model_states(modules: LatentModules, base: BaseModel, hidden: Tensor, codes: Tensor) -> Tensor:
    """Head inputs ``[..., D]`` of the world model for states ``[..., D]`` under integer codes ``[...]``."""
    return modules.merge.merge(hidden, modules.codebook(codes), base.apply_final_norm)


def fan_out_states(modules: LatentModules, base: BaseModel, hidden: Tensor) -> Tensor:
    """Head inputs ``[B, K, D]`` of every code at each state of ``hidden`` ``[B, D]``."""
    return modules.merge.merge_all(hidden, modules.codebook.weight, base.apply_final_norm)


def trainable(modules: LatentModules, *names: str) -> Iterator[nn.Parameter]:
    """Make exactly the named sub-modules trainable and yield their parameters."""
    modules.requires_grad_(False)
    for name in names:
        for parameter in getattr(modules, name).parameters():
            parameter.requires_grad_(True)
            yield parameter
