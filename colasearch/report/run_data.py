"""A run folder as the reports see it: manifest, summary, records, and each record's trace file."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from colasearch.errors import CorruptFileError, InputError
from colasearch.storage.files import read_json
from colasearch.storage.records import RECORDS_NAME, read_records
from colasearch.storage.runs import MANIFEST_NAME, SUMMARY_NAME, read_manifest

_SUMMARY_FIELDS = ("benchmark", "n", "model", "sims", "seed", "arms", "searcher", "comparisons", "verdict", "curve")
_ARM_FIELDS = ("n", "errors", "texts", "generated_tokens", "model_calls", "seconds", "sims_done")


@dataclass(frozen=True, slots=True)
class Run:
    """A benchmark's run folder.

    Attributes:
        folder: Where.
        manifest: ``manifest.json``.
        summary: ``summary.json``, or the same computed from the records where there is none yet.
        records: ``problems.jsonl``.
        running: Whether ``summary`` was computed here: the run goes on, or was killed.
    """

    folder: Path
    manifest: Mapping[str, Any]
    summary: Mapping[str, Any]
    records: Sequence[Mapping[str, Any]]
    running: bool


def load_run(folder: Path) -> Run:
    """Read a run folder.

    Raises:
        InputError: No run folder, another kind of run, or nothing finished in it yet.
        CorruptFileError: A damaged file.
    """
    if not folder.exists():
        raise InputError(f"{folder} does not exist; give the folder that `colasearch bench --output` named")
    manifest = read_manifest(folder)
    if manifest.get("kind") != "bench":
        raise InputError(
            f"{folder} is a run of kind {manifest.get('kind')!r}; reports are made of runs of `colasearch bench`"
        )
    records = read_records(folder)
    for number, record in enumerate(records, 1):
        if not {"problem_id", "arm", "sims", "status"} <= record.keys():
            raise CorruptFileError(f"{folder / RECORDS_NAME} record {number} lacks fields; restore the file")
    summary = _read_summary(folder)
    running = False
    # A run that was resumed and then killed has an older summary than records. Only errors are ever replaced.
    errors = sum(record["status"] != "ok" for record in records)
    if summary is not None and _counted(summary) == (len(records), errors):
        pass
    elif records:
        summary, running = _summary_so_far(manifest, records), True
    else:
        raise InputError(f"{folder} has no finished problem yet; look again later, or go on with --resume")
    return Run(folder, manifest, summary, records, running)


def _read_summary(folder: Path) -> dict[str, Any] | None:
    """``summary.json``, its fields checked; None when there is none."""
    path = folder / SUMMARY_NAME
    if not path.is_file():
        return None
    summary = read_json(path)
    try:
        for point in summary["curve"]:
            for arm in point["arms"].values():
                for part in (arm["selected"], arm["oracle"]):
                    float(part["accuracy"]), float(part["ci95"][0]), float(part["ci95"][1])
                _ = [float(arm[name]) for name in _ARM_FIELDS]
            _ = [float(c["difference"]) + float(c["ci95"][0]) + float(c["ci95"][1]) for c in point["comparisons"]]
        missing = [name for name in _SUMMARY_FIELDS if name not in summary]
    except (KeyError, TypeError, ValueError, IndexError, AttributeError) as error:
        missing = [str(error)]
    if missing:
        raise CorruptFileError(
            f"{path} lacks or garbles {', '.join(missing)[:200]}; run `colasearch bench` with --resume"
        )
    return summary


def _counted(summary: Mapping[str, Any]) -> tuple[int, int]:
    """Records that a summary is made of, and errors among them; greedy's one text counts once, not at each point."""
    arms = [
        arm
        for number, point in enumerate(summary["curve"])
        for name, arm in point["arms"].items()
        if name != "greedy" or number == 0
    ]
    return sum(int(arm["n"]) for arm in arms), sum(int(arm["errors"]) for arm in arms)


def _summary_so_far(manifest: Mapping[str, Any], records: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    """The summary of the records there are; that of a run which was killed, or goes on while it is looked at."""
    from colasearch.benchmarks.harness.summary import build

    settings = manifest["settings"]
    found = {
        field: sorted({str(r[field]) for r in records if r.get(field) is not None}) for field in ("subject", "level")
    }
    groups = {field: names for field, names in found.items() if names}
    summary = build(
        records,
        benchmark=settings["benchmark"],
        model=settings["model"],
        seed=settings["seed"],
        searcher=settings["searcher"],
        arms=settings["arms"],
        sims=settings["sims"],
        ids=list(dict.fromkeys(r["problem_id"] for r in records)),
        groups=groups,
        data=manifest["runtime"].get("data") or {},
    )
    return {**summary, "complete": False}


def trace_file(run: Run, record: Mapping[str, Any]) -> Path | None:
    """The file of a record's trace; None when none was kept or it is gone.

    Raises:
        CorruptFileError: The record names a file outside the run folder.
    """
    name = record.get("trace")
    if not name:
        return None
    path = run.folder / str(name)
    if not path.resolve().is_relative_to(run.folder.resolve()):
        raise CorruptFileError(f"{run.folder / RECORDS_NAME} names a trace outside the run folder: {str(name)[:200]!r}")
    return path if path.is_file() else None


def fingerprint(folder: Path, *extra: bytes) -> str:
    """Hex SHA-256 of the files that a report is made of, and of ``extra``. Traces never change once recorded."""
    digest = hashlib.sha256()
    for name in (MANIFEST_NAME, RECORDS_NAME, SUMMARY_NAME):
        path = folder / name
        data = path.read_bytes() if path.is_file() else b""
        digest.update(len(data).to_bytes(8, "big") + data)
    for data in extra:
        digest.update(len(data).to_bytes(8, "big") + data)
    return digest.hexdigest()
