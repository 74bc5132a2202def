"""Files that are either complete or absent: atomic writes, SHA-256 sums, the cache folder.

What the disk refuses is told with the file's name: see ``colasearch.disk``.
"""

from __future__ import annotations

import contextlib
import fcntl
import hashlib
import json
import os
import re
import shutil
import stat
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from colasearch.disk import naming
from colasearch.errors import CorruptFileError

SUMS_NAME = "SHA256SUMS"
MAX_TEXT_BYTES = 1 << 26
"""Most bytes of a JSON file or a list of sums: none of ours comes near, and it is read in one piece."""
MAX_WEIGHTS_BYTES = 1 << 39
"""Most bytes of any other file that is read to check its sum: half a terabyte, which no worker could hold."""
_LEFT_BEHIND = re.compile(r"\.(?P<name>.+)\.(?P<kind>tmp|old)-(?P<pid>\d+)")


def cache_dir() -> Path:
    """The cache folder: ``COLASEARCH_CACHE``, else ``colasearch`` under ``XDG_CACHE_HOME`` or ``~/.cache``."""
    override = os.environ.get("COLASEARCH_CACHE")
    if override:
        return Path(override).expanduser()
    return Path(os.environ.get("XDG_CACHE_HOME") or "~/.cache").expanduser() / "colasearch"


@contextlib.contextmanager
def waiting_lock(name: str) -> Iterator[None]:
    """Wait until no other process on this machine works in the cache under ``name``."""
    path = cache_dir() / "locks" / f"{name}.lock"
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("w") as stream:
        fcntl.flock(stream, fcntl.LOCK_EX)
        yield


def sha256_of(path: Path) -> str:
    """Hex SHA-256 of a file's bytes."""
    with naming(path), path.open("rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()


def fsync_path(path: Path) -> None:
    """Flush a file's or a folder's contents to disk."""
    with naming(path):
        descriptor = os.open(path, os.O_RDONLY)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)


def write_atomic(path: Path, data: bytes | str) -> None:
    """Write ``path`` so that a reader, also after a crash, sees the old bytes or the new ones."""
    temporary = path.with_name(f".{path.name}.tmp-{os.getpid()}")
    with naming(path, temporary):
        try:
            temporary.write_bytes(data.encode() if isinstance(data, str) else data)
            fsync_path(temporary)
            temporary.replace(path)
            fsync_path(path.parent)
        except BaseException:
            with contextlib.suppress(OSError):
                temporary.unlink()
            raise


def check_plain(path: Path, most: int = MAX_WEIGHTS_BYTES) -> None:
    """Refuse what is no plain file of at most ``most`` bytes; reading it could hang or fill the memory.

    Raises:
        CorruptFileError: A folder, pipe or device, or too large.
        FileNotFoundError: Nothing is there.
    """
    info = path.stat()
    if not stat.S_ISREG(info.st_mode):
        kind = "a folder" if stat.S_ISDIR(info.st_mode) else "a pipe, socket or device"
        raise CorruptFileError(f"{path} is {kind}; it must be a plain file: copy or save it again")
    if info.st_size > most:
        raise CorruptFileError(f"{path} has {info.st_size:,} bytes; at most {most:,} are read: copy or save it again")


def read_plain(path: Path, most: int = MAX_TEXT_BYTES) -> bytes:
    """The bytes of a plain file of at most ``most`` bytes.

    Raises:
        CorruptFileError: A folder, pipe or device, or too large.
        FileNotFoundError: Nothing is there.
    """
    with naming(path):
        check_plain(path, most)
        return path.read_bytes()


def clear_left_behind(folder: Path) -> None:
    """Clear away what killed writers left below ``folder``, whose lock the caller holds; nothing else writes there.

    A folder that was set aside for its replacement, and not replaced before the kill, gets its name back. What belongs
    to another living process stays: pages are written by ``colasearch view`` without the lock.
    """
    for at, folders, files in os.walk(folder):
        for name in (*folders, *files):
            found = _LEFT_BEHIND.fullmatch(name)
            if found is None or _lives(int(found["pid"])):
                continue
            path, final = Path(at) / name, Path(at) / found["name"]
            with naming(path):
                if found["kind"] == "old" and not final.exists():
                    path.rename(final)
                elif name in folders:
                    shutil.rmtree(path)
                else:
                    path.unlink()
        folders[:] = [name for name in folders if not _LEFT_BEHIND.fullmatch(name)]


def _lives(pid: int) -> bool:
    """Whether another process has this number; in containers ours is often the same from run to run.

    One that has ended and that nobody waited for (a zombie: a container may have no init that does) writes no more.
    """
    try:
        state = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
    except (OSError, IndexError):
        return False
    return pid != os.getpid() and state not in "ZX"


def write_json(path: Path, data: Any) -> None:
    """Write ``data`` as indented JSON, atomically."""
    write_atomic(path, json.dumps(data, indent=2, ensure_ascii=False) + "\n")


def read_json(path: Path) -> dict[str, Any]:
    """Read a JSON object.

    Raises:
        CorruptFileError: The file is no JSON object, or no plain file of bounded size.
    """
    text = read_plain(path)
    try:
        data = json.loads(text.decode("utf-8"))
    except (ValueError, RecursionError) as error:
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
    temporary = path.with_name(f".{path.name}.tmp-{os.getpid()}")
    with naming(path, temporary):
        path.parent.mkdir(parents=True, exist_ok=True)
        shutil.rmtree(temporary, ignore_errors=True)
        temporary.mkdir()
        try:
            yield temporary
            for file in temporary.rglob("*"):
                fsync_path(file)
            fsync_path(temporary)
            _move(temporary, path, replace)
            fsync_path(path.parent)
        finally:
            shutil.rmtree(temporary, ignore_errors=True)


def _move(temporary: Path, path: Path, replace: bool) -> None:
    """Give a whole folder its name; one that has it makes way, or stays."""
    old = path.with_name(f".{path.name}.old-{os.getpid()}")
    if replace and path.exists():
        path.rename(old)
    try:
        temporary.rename(path)
    except OSError:
        if not path.is_dir():
            with contextlib.suppress(OSError):
                old.rename(path)
            raise
    shutil.rmtree(old, ignore_errors=True)


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
    for line in read_plain(path).decode("utf-8", errors="replace").splitlines():
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
    check_plain(path)
    info = path.stat()
    seen = [expected_sha256, info.st_size, info.st_mtime_ns]
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
        if not (folder / name).exists():
            raise CorruptFileError(f"{folder / name} is missing; {remedy}")
        check_file(folder / name, digest, remedy)
    return sums
