"""What models a user has: known ones, names of their own, converted GGUF files; their sizes, and what fits."""

from __future__ import annotations

import os
import shutil
from dataclasses import dataclass
from pathlib import Path

from colasearch.errors import InputError
from colasearch.model.adapter import is_adapter
from colasearch.model.folders import latents_folder, packaged_names
from colasearch.model.known import KNOWN, KnownBase
from colasearch.model.registry import forget, registered
from colasearch.model.sources import bundled_base, cached_sha256, gguf_folder, pretrained_root
from colasearch.storage.files import cache_dir, waiting_lock

WITHOUT_WEIGHTS = 700 << 20
"""Bytes of a process that runs a small model, the model aside: Python, torch, transformers, keys and values."""
PER_WEIGHT_BYTE = 1.25
"""Bytes in memory for a byte of half-precision weights while a model is loaded and packed on a CPU."""


@dataclass(frozen=True, slots=True)
class Entry:
    """A model in the list.

    Attributes:
        name: What ``--model`` takes.
        about: One line for people.
        hub: Its name on the hub.
        tasks: Tasks that it was made for.
        latents: Whether it has latent modules.
        packaged: The base inside this installation.
        cached: The copy in the cache folder, which ``remove`` deletes.
        path: For a name that the user gave: the folder or file.
        disk_bytes: What is on the disk of it; 0 where nothing is.
        needs_bytes: Memory that it needs to be run on a CPU, about; None where its size is not known.
    """

    name: str
    about: str
    hub: str | None = None
    tasks: tuple[str, ...] = ()
    latents: bool = False
    packaged: Path | None = None
    cached: Path | None = None
    path: Path | None = None
    disk_bytes: int = 0
    needs_bytes: int | None = None

    @property
    def fits(self) -> bool | None:
        """Whether this machine has that much memory; None where the size is not known."""
        return None if self.needs_bytes is None else self.needs_bytes <= machine_bytes()


def entries() -> list[Entry]:
    """Known models by name, then the user's own by name."""
    own = registered()
    return [_known(KNOWN[name]) for name in sorted(KNOWN)] + [_own(name, Path(own[name])) for name in sorted(own)]


def machine_bytes() -> int:
    """Memory of this machine, or of the container where that is less."""
    most = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    try:
        limit = int(Path("/sys/fs/cgroup/memory.max").read_text())
    except (OSError, ValueError):
        return most
    return min(most, limit)


def removable(name: str) -> tuple[str, Path | None]:
    """What ``remove`` would do with ``name``: a sentence, and the cache folder that it would delete (or None).

    Raises:
        InputError: There is nothing to remove.
    """
    own = registered()
    if name in own:
        path = Path(own[name])
        cached = gguf_folder(cached_sha256(path)) if path.is_file() and path.suffix.lower() == ".gguf" else None
        if cached is None or not cached.is_dir():
            return f"forget the name {name}; {path} stays", None
        return f"forget the name {name} and delete the converted copy {cached}; {path} stays", cached
    path = Path(name).expanduser()
    if path.is_file() and path.suffix.lower() == ".gguf":
        cached = gguf_folder(cached_sha256(path))
        if cached.is_dir():
            return f"delete the converted copy {cached}; {path} stays", cached
    cached = cache_dir() / "base" / name
    if name in KNOWN and cached.is_dir():
        return f"delete {cached}", cached
    if name in KNOWN and KNOWN[name].hub is not None:
        raise InputError(f"{name!r} is not in colasearch's cache; what the hub's client keeps, `hf cache rm` deletes")
    raise InputError(
        f"there is nothing of {name!r} to remove; `colasearch models` lists names, and what is in the cache"
    )


def remove(name: str) -> None:
    """Delete the cached copy of ``name`` and forget it if it is a name that the user gave; no other file is touched.

    Raises:
        InputError: There is nothing to remove.
    """
    _, cached = removable(name)
    if cached is not None:
        with waiting_lock(cached.name):
            shutil.rmtree(cached)
    if name in registered():
        forget(name)


def _known(known: KnownBase) -> Entry:
    cached, packaged = cache_dir() / "base" / known.name, bundled_base(pretrained_root() / known.name)
    where = packaged or (cached if cached.is_dir() else None)
    weights = known.megabytes * 10**6 if where is None else _weights_bytes(where)
    return Entry(
        name=known.name,
        about=known.about,
        hub=known.hub,
        tasks=known.tasks,
        latents=known.name in packaged_names(),
        packaged=packaged,
        cached=cached if cached.is_dir() else None,
        disk_bytes=0 if where is None else _disk_bytes(where),
        needs_bytes=_needs(weights),
    )


def _own(name: str, path: Path) -> Entry:
    latents = path.is_dir() and latents_folder(str(path)) is not None
    if path.is_file():
        cached = gguf_folder(cached_sha256(path))
        has = cached.is_dir()
        return Entry(
            name, "GGUF file", path=path, cached=cached if has else None, disk_bytes=path.stat().st_size,
            needs_bytes=_needs(_weights_bytes(cached)) if has else None,
        )  # fmt: skip
    if not path.is_dir():
        return Entry(name, "nothing is there any more", path=path)
    kind = "latent modules" if latents else "peft adapter" if is_adapter(path) else "base model"
    alone = kind == "base model"
    return Entry(
        name, kind, latents=latents, path=path, disk_bytes=_disk_bytes(path),
        needs_bytes=_needs(_weights_bytes(path)) if alone else None,
    )  # fmt: skip


def _needs(weights: int) -> int | None:
    return int(WITHOUT_WEIGHTS + PER_WEIGHT_BYTE * weights) if weights else None


def _weights_bytes(folder: Path) -> int:
    return sum(path.stat().st_size for path in folder.glob("*.safetensors"))


def _disk_bytes(folder: Path) -> int:
    return sum(path.stat().st_size for path in folder.rglob("*") if path.is_file())
