"""Files that are either complete or absent: atomic writes, SHA-256 sums, the cache folder."""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from colasearch.errors import CorruptFileError

SUMS_NAME = "SHA256SUMS"


def cache_dir() -> Path:
    """The cache folder: ``COLASEARCH_CACHE``, else ``colasearch`` under ``XDG_CACHE_HOME`` or ``~/.cache``."""
    override = os.environ.get("COLASEARCH_CACHE")
    if override:
        return Path(override).expanduser()
    return Path(os.environ.get("XDG_CACHE_HOME") or "~/.cache").expanduser() / "colasearch"


def sha256_of(path: Path) -> str:
    """Hex SHA-256 of a file's bytes."""
    with path.open("rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()


def fsync_path(path: Path) -> None:
    """Flush a file's or a folder's contents to disk."""
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def write_atomic(path: Path, data: bytes | str) -> None:
    """Write ``path`` so that a reader, also after a crash, sees the old bytes or the new ones."""
    temporary = path.with_name(f".{path.name}.tmp-{os.getpid()}")
    try:
        temporary.write_bytes(data.encode() if isinstance(data, str) else data)
        fsync_path(temporary)
        temporary.replace(path)
        fsync_path(path.parent)
    except BaseException:
        temporary.unlink(missing_ok=True)
        raise


def write_json(path: Path, data: Any) -> None:
    """Write ``data`` as indented JSON, atomically."""
    write_atomic(path, json.dumps(data, indent=2, ensure_ascii=False) + "\n")


def read_json(path: Path) -> dict[str, Any]:
    """Read a JSON object.

    Raises:
        CorruptFileError: The file is no JSON object.
    """
    try:
        data = json.loads(path.read_text(encoding="utf-8"))
    except (ValueError, UnicodeDecodeError) as error:
        raise CorruptFileError(f"{path} is not valid JSON ({error}); fetch or save it again") from None
    if not isinstance(data, dict):
        raise CorruptFileError(f"{path} holds a {type(data).__name__}; it must hold a JSON object")
    return data


@contextlib.contextmanager
def folder_atomic(path: Path, *, replace: bool = False) -> Iterator[Path]:
    """A temporary folder beside ``path`` that takes its name when the block ends well, and vanishes otherwise.

    With ``replace`` an existing folder is exchanged for the new one; without it an existing folder stays (somebody
    else finished first) and ours is dropped.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_name(f".{path.name}.tmp-{os.getpid()}")
    shutil.rmtree(temporary, ignore_errors=True)
    temporary.mkdir()
    try:
        yield temporary
        for file in temporary.rglob("*"):
            fsync_path(file)
        fsync_path(temporary)
        old = path.with_name(f".{path.name}.old-{os.getpid()}")
        if replace and path.exists():
            path.rename(old)
        try:
            temporary.rename(path)
        except OSError:
            if not path.is_dir():
                raise
        shutil.rmtree(old, ignore_errors=True)
        fsync_path(path.parent)
    finally:
        shutil.rmtree(temporary, ignore_errors=True)


def write_sums(folder: Path) -> None:
    """Write ``SHA256SUMS`` (the format of sha256sum) over all other files directly in ``folder``."""
    names = sorted(p.name for p in folder.iterdir() if p.is_file() and p.name != SUMS_NAME)
    write_atomic(folder / SUMS_NAME, "".join(f"{sha256_of(folder / name)}  {name}\n" for name in names))


def read_sums(folder: Path) -> dict[str, str]:
    """File name to hex SHA-256, from ``SHA256SUMS``; empty when there is none."""
    path = folder / SUMS_NAME
    if not path.exists():
        return {}
    sums = {}
    for line in path.read_text(encoding="utf-8", errors="replace").splitlines():
        digest, _, name = line.partition("  ")
        if len(digest) != 64 or not name or "/" in name:
            raise CorruptFileError(f"{path} has a line that is no SHA-256 sum: {line[:80]!r}; fetch or save again")
        sums[name] = digest
    return sums


def check_file(path: Path, expected_sha256: str, remedy: str) -> None:
    """Compare a file's SHA-256 with ``expected_sha256``, reading it only if it changed since it was last found good.

    A file that was found good is remembered in the cache by size and modification time, so that the gigabytes of a
    base model are not read twice at every start.

    Raises:
        CorruptFileError: The sums differ; the message ends with ``remedy``.
    """
    stat = path.stat()
    seen = [expected_sha256, stat.st_size, stat.st_mtime_ns]
    stamp = cache_dir() / "checked" / (hashlib.sha256(str(path.resolve()).encode()).hexdigest()[:32] + ".json")
    with contextlib.suppress(OSError, ValueError):
        if json.loads(stamp.read_text()) == seen:
            return
    found = sha256_of(path)
    if found != expected_sha256:
        raise CorruptFileError(f"{path} is damaged: its SHA-256 is {found}, it must be {expected_sha256}; {remedy}")
    # A cache that cannot be written costs time at the next start, nothing else.
    with contextlib.suppress(OSError):
        stamp.parent.mkdir(parents=True, exist_ok=True)
        write_atomic(stamp, json.dumps(seen))


def check_sums(folder: Path, remedy: str) -> dict[str, str]:
    """Check every file that ``SHA256SUMS`` names; return the sums.

    Raises:
        CorruptFileError: A named file is missing or differs, or there is no ``SHA256SUMS``.
    """
    sums = read_sums(folder)
    if not sums:
        raise CorruptFileError(f"{folder} has no {SUMS_NAME}; {remedy}")
    for name, digest in sums.items():
        if not (folder / name).is_file():
            raise CorruptFileError(f"{folder / name} is missing; {remedy}")
        check_file(folder / name, digest, remedy)
    return sums
