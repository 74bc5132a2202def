"""Folders of latent modules by name; needs no torch, so that models can be listed at once."""

from __future__ import annotations

from pathlib import Path

from colasearch.model.config import MODEL_TYPE
from colasearch.model.registry import resolve
from colasearch.model.sources import is_hub_name, pretrained_root, snapshot_at_hand
from colasearch.storage.files import read_json


def packaged_names() -> list[str]:
    """Names of the latent modules that ship with the package."""
    root = pretrained_root()
    if not root.is_dir():
        return []
    return sorted(p.name for p in root.iterdir() if p.name[0] != "." and (p / "config.json").is_file())


def latents_folder(name: str) -> Path | None:
    """The checkpoint folder of ``name``: packaged, named by the user, a path, or fetched from the hub; else None."""
    if name in packaged_names():
        return pretrained_root() / name
    folder = (snapshot_at_hand(name) if is_hub_name(name) else None) or Path(resolve(name)).expanduser()
    config = folder / "config.json"
    if config.is_file() and read_json(config).get("model_type") == MODEL_TYPE:
        return folder
    return None
