"""Latent modules for the Hugging Face hub: what must go along, so that others can load them by name alone."""

from __future__ import annotations

import shutil
from dataclasses import replace
from pathlib import Path

from colasearch.errors import PrerequisiteError
from colasearch.model.adapter import MERGE
from colasearch.model.card import hub_name_of, metadata, model_card
from colasearch.model.config import LatentConfig
from colasearch.model.known import KNOWN
from colasearch.model.sources import HUB_FILES, PACKAGED_BASE, find_base
from colasearch.storage.files import write_json, write_sums

ONLY_HERE = ("origin.json",)
"""Files of the cache that say where a base came from on this machine."""


def shared_card(config: LatentConfig, card: str) -> str:
    """A card that the hub can read: ``card``, or where that is empty one of ``config``, with metadata at its head."""
    text = card or model_card(config, bundled=not _is_public(config))
    return text if text.startswith("---\n") else f"{metadata('text-generation', config.base)}\n{text}"


def add_base(folder: Path, config: LatentConfig) -> None:
    """Put the base into checkpoint ``folder``, unless others find it by its name.

    Raises:
        PrerequisiteError: The base is an adapter.
    """
    if _is_public(config):
        return
    found = find_base(config.base.name)
    if found.adapter is not None:
        raise PrerequisiteError(
            f"the base of these latent modules is the adapter {config.base.name}, which others do not have; {MERGE} "
            "for training"
        )
    inside = folder / PACKAGED_BASE
    inside.mkdir()
    for path in sorted({path for pattern in HUB_FILES for path in found.path.glob(pattern)}):
        if path.is_file() and path.name not in ONLY_HERE:
            shutil.copyfile(path, inside / path.name)
    write_sums(inside)
    # Where it lay on this machine is of no use to others.
    told = replace(config, base=replace(config.base, name=Path(config.base.name).name))
    write_json(folder / "config.json", told.to_dict())
    write_sums(folder)


def _is_public(config: LatentConfig) -> bool:
    """Whether others find the base by its name."""
    return config.base.name in KNOWN or hub_name_of(config.base) is not None
