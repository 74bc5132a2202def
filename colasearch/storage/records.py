"""Records of a run folder: lines of JSON, each with the sum of what it says, appended and never changed.

A record of ``bench`` in ``problems.jsonl``::

    {"schema": 1,
     "problem_id": "svamp-chal-1", "arm": "gumbel", "sims": 64,     # together unique; sims is 0 for greedy
     "problem": "Dan has 8 marbles. ...",                           # its wording
     "status": "ok",                                                # or "error": then only "error" is set, below
     "error": null,                                                 # {"kind": "InputError", "message": "..."};
                                                                    # a "LostError" is tried again by --resume
     "subject": "Subtraction", "level": null,                       # as the data has them, else null
     "gold": "51", "answer": "51", "text": "...",                   # gold, selected answer (or null), selected text
     "correct": true,                                               # selected answer against the gold one
     "oracle": true,                                                # any finished text against the gold one
     "texts": 12, "texts_correct": 7,                               # finished texts; those that are right
     "cut": 0,                                                      # texts that reached the limit of their length
     "candidates": [{"answer": "51", "weight": 0.7, "count": 8}],   # heaviest first, at most 16
     "stop": "budget", "sims_done": 64,                             # baselines: texts drawn, cut-off ones included
     "effective_branching": 0.67,                                   # null for baselines
     "token_budget": null,                                          # tokens the arm was given; null: none but sims
     "generated_tokens": 1773, "model_calls": 556,
     "seconds": 39.2,                                               # from the problem's begin to its end
     "wall_seconds": 39.2,                                          # its share of the wall clock; sums to the run's
     "trace": "traces/gumbel-64/svamp-chal-1.json.gz",              # relative to the folder; null with --no-traces
     "sum": "1f0c..."}                                              # first 16 hex digits of the record's SHA-256

Of records with one key the last one counts. A line that was cut off by a crash (the last one) is dropped, with a
warning, and its work done again; any other damage is refused.
"""

from __future__ import annotations

import hashlib
import json
import warnings
from collections.abc import Hashable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from colasearch.disk import naming
from colasearch.errors import CorruptFileError, LostError

SCHEMA = 1
RECORDS_NAME = "problems.jsonl"
KEY = ("problem_id", "arm", "sims")


def record_sum(record: Mapping[str, Any]) -> str:
    """First 16 hex digits of the SHA-256 of a record without its own ``sum``."""
    content = {key: value for key, value in record.items() if key != "sum"}
    text = json.dumps(content, sort_keys=True, ensure_ascii=False, separators=(",", ":"))
    return hashlib.sha256(text.encode()).hexdigest()[:16]


def read_records(folder: Path, name: str = RECORDS_NAME) -> list[dict[str, Any]]:
    """The whole records of a run folder, in the order of writing; a torn last line is left out with a warning.

    A record of ``problems.jsonl`` that was written later takes the place of the one with its key.

    Raises:
        CorruptFileError: A line that is not the last one is damaged, or a record's sum does not fit.
    """
    records = scan(folder / name)[0]
    return list(by_key(records, KEY).values()) if name == RECORDS_NAME else records


def was_lost(record: Mapping[str, Any]) -> bool:
    """Whether a record stands for work that was lost with its workers: that is worth another try."""
    return (record.get("error") or {}).get("kind") == LostError.__name__


def key_of(record: Mapping[str, Any], key: Sequence[str]) -> Hashable:
    """The fields ``key`` of a record."""
    return tuple(record.get(name) for name in key)


def by_key(records: Iterable[dict[str, Any]], key: Sequence[str]) -> dict[Hashable, dict[str, Any]]:
    """The last record of each key, at the place of the first one."""
    return {key_of(record, key): record for record in records}


def scan(path: Path) -> tuple[list[dict[str, Any]], int]:
    """Records, and the number of bytes that they take up."""
    if not path.exists():
        return [], 0
    if not path.is_file():
        raise CorruptFileError(f"{path} is no plain file; restore it, or begin again in a new folder")
    with naming(path):
        data = path.read_bytes()
    records: list[dict[str, Any]] = []
    good = 0
    for number, line in enumerate(data.splitlines(keepends=True), 1):
        record = _parse(line)
        if record is None:
            if good + len(line) < len(data):
                raise CorruptFileError(
                    f"{path} line {number} is damaged: {line[:60]!r}; restore the file, or begin again in a new folder"
                )
            warnings.warn(f"{path}: line {number} is torn and is dropped; its work is done again", stacklevel=3)
            break
        records.append(record)
        good += len(line)
    return records, good


def _parse(line: bytes) -> dict[str, Any] | None:
    """The record in a line; None if it is damaged."""
    try:
        record = json.loads(line)
    except (ValueError, UnicodeDecodeError):
        return None
    if not isinstance(record, dict) or record.get("schema") != SCHEMA:
        return None
    if "sum" in record and record["sum"] != record_sum(record):
        return None
    return record
