"""Records of a run as one Parquet file (extra ``[parquet]``)."""

from __future__ import annotations

import contextlib
import os
from pathlib import Path
from typing import Any

from colasearch.disk import naming
from colasearch.errors import PrerequisiteError
from colasearch.storage.files import fsync_path
from colasearch.storage.records import read_records
from colasearch.storage.runs import read_manifest


def export(folder: Path, path: Path) -> int:
    """Write the records of the run in ``folder`` to ``path``, atomically; returns how many there were.

    The columns are the records' fields, ``error`` as ``error_kind`` and ``error_message``, and the run's benchmark,
    model and seed. The same columns come out whatever the records hold.

    Raises:
        PrerequisiteError: pyarrow is not installed.
        InputError: ``folder`` is no run folder.
        CorruptFileError: It is damaged.
    """
    try:
        import pyarrow as pa
        import pyarrow.parquet as pq
    except ModuleNotFoundError:
        raise PrerequisiteError(
            "Parquet is written with the package pyarrow, which is not installed; run `pip install '.[parquet]'`"
        ) from None
    manifest = read_manifest(folder)
    settings = manifest["settings"]
    records = read_records(folder)
    candidate = pa.struct([("answer", pa.string()), ("weight", pa.float64()), ("count", pa.int64())])
    kinds = {
        **dict.fromkeys(("benchmark", "model"), pa.string()),
        "seed": pa.int64(),
        **dict.fromkeys(("problem_id", "problem", "arm"), pa.string()),
        "sims": pa.int64(),
        **dict.fromkeys(
            ("status", "error_kind", "error_message", "subject", "level", "gold", "answer", "text"), pa.string()
        ),
        **dict.fromkeys(("correct", "oracle"), pa.bool_()),
        **dict.fromkeys(("texts", "texts_correct"), pa.int64()),
        "candidates": pa.list_(candidate),
        "stop": pa.string(),
        "sims_done": pa.int64(),
        "effective_branching": pa.float64(),
        **dict.fromkeys(("token_budget", "generated_tokens", "model_calls"), pa.int64()),
        **dict.fromkeys(("seconds", "wall_seconds"), pa.float64()),
        "trace": pa.string(),
    }
    rows = [_row(record, settings) for record in records]
    arrays = {name: pa.array([row.get(name) for row in rows], type=kind) for name, kind in kinds.items()}
    temporary = path.with_name(f".{path.name}.tmp-{os.getpid()}")
    with naming(path, temporary):
        try:
            pq.write_table(pa.table(arrays), temporary, compression="zstd")
            fsync_path(temporary)
            temporary.replace(path)
        finally:
            with contextlib.suppress(OSError):
                temporary.unlink()
    return len(rows)


def _row(record: dict[str, Any], settings: dict[str, Any]) -> dict[str, Any]:
    error = record.get("error") or {}
    run = {name: settings.get(name) for name in ("benchmark", "model", "seed")}
    return {**run, **record, "error_kind": error.get("kind"), "error_message": error.get("message")}
