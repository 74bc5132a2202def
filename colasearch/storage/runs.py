"""Run folders: what a long job writes, so that it can be killed at any point, resumed, compared and reported.

A folder without ``manifest.json`` in which no record was written is begun anew, since a killed run leaves such a one.
What a killed writer left under a temporary name is cleared away by whoever takes the lock next.

A run folder holds::

    manifest.json    what was run; written once, at the start
    problems.jsonl   one record a finished piece of work (in `bench`: a problem and an arm); append-only, fsynced
    traces/          one gzipped ``Trace`` a record (``colasearch.storage.traces``), written before its record
    summary.json     what came out; written at the end, and when a run is interrupted
    report.md, plots/, report.html    written by ``colasearch.report``
    .lock            held while a run writes here; says who

``manifest.json`` is ``{"schema": 1, "kind": "bench", "created": ISO time in UTC, "argv": [...], "settings": {...},
"hashes": {...}, "runtime": {...}, "versions": {...}, "git": sha or null, "machine": {...}}``. ``settings`` and
``hashes`` are what the results depend on: a resumed run must have the same. ``runtime`` (batch size, threads) may
differ.

``summary.json`` of ``bench``: see ``colasearch.benchmarks.harness.summary``.

What records look like: see ``colasearch.storage.records``.

The lock is the kernel's (``flock``): it is gone when its process is, also after SIGKILL. On network file systems
without ``flock`` between hosts it does not protect. Knows nothing about models or benchmarks.
"""

from __future__ import annotations

import contextlib
import fcntl
import hashlib
import json
import os
import platform
import re
import socket
import subprocess
import sys
import warnings
from collections.abc import Hashable, Mapping, Sequence
from datetime import UTC, datetime
from pathlib import Path
from types import TracebackType
from typing import Any

from colasearch.disk import naming
from colasearch.errors import CorruptFileError, InputError, PrerequisiteError
from colasearch.storage.files import clear_left_behind, fsync_path, read_json, write_json
from colasearch.storage.records import KEY, RECORDS_NAME, SCHEMA, by_key, key_of, record_sum, scan, was_lost

MANIFEST_NAME = "manifest.json"
SUMMARY_NAME = "summary.json"
TRACES_NAME = "traces"
LOCK_NAME = ".lock"
_PACKAGES = (
    "torch",
    "transformers",
    "numpy",
    "safetensors",
    "sympy",
    "math-verify",
    "datasets",
    "reasoning-gym",
    "ray",
)
_UNSAFE = re.compile(r"[^A-Za-z0-9._-]+")


def file_name(name: str) -> str:
    """``name`` as a file name: unsafe characters replaced, a hash added where something was lost."""
    safe = _UNSAFE.sub("_", name).strip(".")[:80]
    return safe if safe and safe == name else f"{safe}-{hashlib.sha256(name.encode()).hexdigest()[:8]}"


def environment() -> dict[str, Any]:
    """``versions``, ``git``, ``machine``: what a manifest says about where a run took place."""
    from importlib import metadata

    from colasearch import __version__

    versions = {"colasearch": __version__, "python": platform.python_version()}
    for package in _PACKAGES:
        with contextlib.suppress(metadata.PackageNotFoundError):
            versions[package] = metadata.version(package)
    machine = {"host": socket.gethostname(), "platform": platform.platform(), "cpus": os.cpu_count()}
    return {"versions": versions, "git": _git_sha(), "machine": machine}


def _git_sha() -> str | None:
    """Commit of the source tree that this package runs from; None for an installed wheel."""
    root = Path(__file__).resolve().parents[2]
    if not (root / ".git").exists():
        return None
    try:
        done = subprocess.run(
            ["git", "-C", str(root), "rev-parse", "HEAD"], capture_output=True, text=True, timeout=10, check=False
        )
    except (OSError, subprocess.TimeoutExpired):
        return None
    return done.stdout.strip() or None


def manifest_of(
    kind: str, settings: Mapping[str, Any], hashes: Mapping[str, Any], runtime: Mapping[str, Any]
) -> dict[str, Any]:
    """A manifest for a run that begins now."""
    return {
        "schema": SCHEMA,
        "kind": kind,
        "created": datetime.now(UTC).isoformat(timespec="seconds"),
        "argv": sys.argv,
        "settings": dict(settings),
        "hashes": dict(hashes),
        "runtime": dict(runtime),
        **environment(),
    }


def read_manifest(folder: Path) -> dict[str, Any]:
    """The manifest of a run folder.

    Raises:
        InputError: No such folder, or no run folder.
        CorruptFileError: Not JSON, or another schema.
    """
    if not (folder / MANIFEST_NAME).is_file():
        raise InputError(f"{folder} is no run folder: it has no {MANIFEST_NAME}; give what `--output` named")
    manifest = read_json(folder / MANIFEST_NAME)
    if manifest.get("schema") != SCHEMA:
        raise CorruptFileError(
            f"{folder / MANIFEST_NAME} has schema {manifest.get('schema')!r}; this version reads schema {SCHEMA}"
        )
    return manifest


def differences(old: Mapping[str, Any], new: Mapping[str, Any]) -> list[str]:
    """What differs in ``settings`` of two manifests, in words; if nothing does, what differs in ``hashes``."""
    found: list[str] = []
    for part in ("settings", "hashes"):
        if found:
            break  # other problems have other hashes: that goes without saying
        before, after = old.get(part) or {}, new.get(part) or {}
        for key in sorted({*before, *after}):
            # Through JSON, as the old one has been: a tuple is a list there.
            if before.get(key) != json.loads(json.dumps(after.get(key))):
                found.append(f"{key.replace('_', '-')} was {before.get(key)!r} and is now {after.get(key)!r}")
    return found


class RunFolder:
    """A run folder that this process writes to; use as a context manager, which holds the lock.

    Attributes:
        path: The folder.
        manifest: As on disk: the first run's, also when resumed.
        again: Keys of records that earlier runs had to give up (``was_lost``) and that are not done yet.
        resumed: Records at the start, without those.
    """

    def __init__(
        self,
        path: Path,
        manifest: Mapping[str, Any],
        *,
        resume: bool = False,
        key: Sequence[str] = KEY,
        records: str = RECORDS_NAME,
    ) -> None:
        """Make the folder, or with ``resume`` take up where an earlier run stopped.

        Args:
            path: The folder; may exist if nothing is finished in it, or with ``resume``.
            manifest: From :func:`manifest_of`.
            resume: Go on in an existing folder. A folder that does not exist is made.
            key: Fields that name a record.
            records: Name of the file with the records.

        Raises:
            InputError: The folder exists and ``resume`` is not given, or its settings differ.
            PrerequisiteError: Another run is writing to it.
            CorruptFileError: Its manifest or a record is damaged.
        """
        self.path, self._key, self._records = path, tuple(key), path / records
        check_folder(path, resume=resume, records=records)
        path.mkdir(parents=True, exist_ok=True)
        self._lock = lock_folder(path)
        try:
            clear_left_behind(path)
            self.manifest, found, good = self._begin(manifest, resume)
            self._found = by_key(found, self._key)
            self.again = {key for key, record in self._found.items() if was_lost(record)}
            self.resumed = len(self.finished)
            with naming(self._records):
                self._stream = self._records.open("ab", buffering=0)  # what is written is in the file at once
                self._stream.truncate(good)
                self._end_line()
        except BaseException:
            self._lock.close()
            raise

    def _begin(self, manifest: Mapping[str, Any], resume: bool) -> tuple[dict[str, Any], list[dict[str, Any]], int]:
        # Again, under the lock: another run may have begun here meanwhile.
        check_folder(self.path, resume=resume, records=self._records.name)
        if not (self.path / MANIFEST_NAME).exists():
            if self._records.name == RECORDS_NAME:
                (self.path / TRACES_NAME).mkdir(exist_ok=True)
            write_json(self.path / MANIFEST_NAME, manifest)
            self._records.touch()
            fsync_path(self.path)
            return json.loads(json.dumps(manifest)), [], 0
        old = read_manifest(self.path)
        if changed := differences(old, manifest):
            raise InputError(
                f"{self.path} was made with other settings: {'; '.join(changed)}; resume with the same settings, or "
                "give another --output"
            )
        for package, version in old.get("versions", {}).items():
            if (now := manifest.get("versions", {}).get(package)) != version:
                warnings.warn(f"this run began with {package} {version} and goes on with {now}", stacklevel=4)
        if old.get("git") != manifest.get("git"):
            warnings.warn(
                f"this run began at commit {old.get('git')} and goes on at {manifest.get('git')}", stacklevel=4
            )
        return old, *scan(self._records)

    def _end_line(self) -> None:
        """Give a last line that is whole but for its newline that newline."""
        with self._records.open("rb") as stream:
            size = stream.seek(0, os.SEEK_END)
            stream.seek(max(0, size - 1))
            if size and stream.read(1) != b"\n":
                self._stream.write(b"\n")

    def __enter__(self) -> RunFolder:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        try:
            with naming(self._records):
                self._stream.close()
        finally:
            self._lock.close()

    @property
    def records(self) -> list[dict[str, Any]]:
        """The last record of each key, those of earlier runs first: what the run has come to so far."""
        return list(self._found.values())

    @property
    def finished(self) -> list[dict[str, Any]]:
        """Those of them that nothing is left to do for."""
        return [record for key, record in self._found.items() if key not in self.again]

    def find(self, *key: Any) -> dict[str, Any] | None:
        """The record with this key, in the order of the key's fields; None if that work is still to do."""
        return None if key in self.again else self._found.get(key)

    def append(self, record: Mapping[str, Any]) -> dict[str, Any]:
        """Write a finished record to disk before returning; returns it as written.

        A record whose key is there already changes nothing, so at-least-once execution is safe; but one that an earlier
        run had to give up is replaced.
        """
        full = {"schema": SCHEMA, **record}
        key = key_of(full, self._key)
        if key in self._found and key not in self.again:
            return self._found[key]
        full["sum"] = record_sum(full)
        with naming(self._records):
            self._write(json.dumps(full, ensure_ascii=False).encode() + b"\n", key, full)
            os.fsync(self._stream.fileno())
        return full

    def _write(self, line: bytes, key: Hashable, record: dict[str, Any]) -> None:
        """Write a line and count its record as found: both or none, also where an interrupt comes between the two."""
        end = os.fstat(self._stream.fileno()).st_size + len(line)
        try:
            rest = memoryview(line)
            while rest:
                rest = rest[self._stream.write(rest) :]
            self._note(key, record)
        except BaseException:
            if os.fstat(self._stream.fileno()).st_size == end:
                self._note(key, record)
            raise

    def _note(self, key: Hashable, record: dict[str, Any]) -> None:
        self._found[key] = record
        self.again.discard(key)

    def trace_path(self, group: str, name: str) -> Path:
        """Where the trace of a record goes; makes its folder. Pass it to ``relative`` for the record."""
        folder = self.path / TRACES_NAME / file_name(group)
        folder.mkdir(parents=True, exist_ok=True)
        return folder / f"{file_name(name)}.json.gz"

    def relative(self, path: Path) -> str:
        """``path`` as records name it: relative to the folder, with slashes."""
        return path.relative_to(self.path).as_posix()

    def write_summary(self, summary: Mapping[str, Any]) -> None:
        """Write ``summary.json``, atomically."""
        write_json(self.path / SUMMARY_NAME, summary)


def check_folder(path: Path, *, resume: bool, records: str = RECORDS_NAME) -> None:
    """Refuse a folder that a run cannot begin in, or with ``resume`` go on in.

    Raises:
        InputError: A file; a folder with something else in it; or a run, without ``resume``.
    """
    if path.exists() and not path.is_dir():
        raise InputError(f"{path} is a file; give a folder for the run, new or to --resume")
    if not path.is_dir() or is_unbegun(path, records) or (resume and (path / MANIFEST_NAME).exists()):
        return
    if (path / MANIFEST_NAME).exists():
        raise InputError(f"{path} exists and is not empty; give another --output, or --resume to go on with that run")
    raise InputError(f"{path} exists and is not empty, and is no run folder; give another --output")


def is_unbegun(path: Path, records: str = RECORDS_NAME) -> bool:
    """Whether folder ``path`` has nothing in it but what a run that was killed before its manifest has made."""

    def nothing(entry: Path) -> bool:
        if entry.name.startswith("."):  # the lock, and temporary files
            return True
        if entry.name == TRACES_NAME and entry.is_dir():
            return next(entry.iterdir(), None) is None
        return entry.name == records and entry.is_file() and entry.stat().st_size == 0

    return all(map(nothing, path.iterdir()))


def lock_folder(path: Path) -> Any:
    """Take the lock of a run folder; closing what is returned gives it back.

    Raises:
        PrerequisiteError: Another process has it; the message says which.
    """
    stream = (path / LOCK_NAME).open("a+")
    try:
        with naming(path / LOCK_NAME):
            fcntl.flock(stream, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        stream.seek(0)
        owner = stream.read(200).strip() or "unknown"
        stream.close()
        raise PrerequisiteError(
            f"another run is writing to {path} (process {owner}); wait for it, stop it, or give another --output"
        ) from None
    try:
        with naming(path / LOCK_NAME):
            stream.seek(0)
            stream.truncate()
            stream.write(f"{os.getpid()} on {socket.gethostname()}\n")
            stream.flush()
    except BaseException:
        with contextlib.suppress(OSError):
            stream.close()
        raise
    return stream


def load_summary(folder: Path) -> dict[str, Any]:
    """The summary of a run folder.

    Raises:
        InputError: The run has not got that far.
        CorruptFileError: Not JSON.
    """
    read_manifest(folder)
    if not (folder / SUMMARY_NAME).is_file():
        raise InputError(f"{folder} has no {SUMMARY_NAME}: the run has not finished; go on with --resume")
    return read_json(folder / SUMMARY_NAME)
