"""What a benchmark is, and how its problems are brought in: from the hub, from a file, or made on the spot.

Whatever the source, rows become ``Item``s with the same fields, and a SHA-256 over them says whether two runs had the
same problems. Only the scorer sees an item's gold answer.
"""

from __future__ import annotations

import json
import random
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from colasearch.benchmarks.data_sets.base import (
    CHECKED_DATA,
    Benchmark,
    Hub,
    Item,
    items_sha256,
    make_item,
    selected_sha256,
)
from colasearch.errors import CorruptFileError, InputError, PrerequisiteError


@dataclass(frozen=True, slots=True)
class DataSet:
    """Problems of one run.

    Attributes:
        items: In the order in which they are run.
        total: How many the whole source has.
        sha256: Over all of the source's items, independent of their order.
        selected_sha256: Over ``items``, ids and order included.
        source: Hub repository and revision, file name, or ``generated``.
        pinned: ``sha256`` is the one that the benchmark names; None where it names none.
        remarks: What a reader of the numbers should know.
    """

    items: list[Item]
    total: int
    sha256: str
    selected_sha256: str
    source: str
    pinned: bool | None
    remarks: tuple[str, ...] = field(default=())

    def to_json(self) -> dict[str, Any]:
        """For manifests and summaries."""
        return {
            "source": self.source,
            "rows": self.total,
            "sha256": self.sha256,
            "selected": len(self.items),
            "selected_sha256": self.selected_sha256,
            "pinned": self.pinned,
            "remarks": list(self.remarks),
        }


def load(
    benchmark: Benchmark,
    *,
    data: Path | None = None,
    limit: int | None = None,
    skip: int = 0,
    shuffle_seed: int | None = None,
    report: Callable[[str], None] = lambda text: None,
) -> DataSet:
    """The problems of a run.

    Args:
        benchmark: What to load.
        data: A jsonl file to read in place of the benchmark's own source.
        limit: Take only so many.
        skip: Leave out so many before the first.
        shuffle_seed: Take them in an order drawn from this seed, rather than in the source's.
        report: Told what is being done.

    Raises:
        PrerequisiteError: The data cannot be had; the message says how to get it.
        CorruptFileError: The rows are not the benchmark's, and its hash is binding.
        InputError: A row of ``data`` cannot be used, or ``skip`` and ``limit`` exceed the rows.
    """
    remarks: list[str] = []
    if data is not None:
        items, source = read_jsonl(data, benchmark.task, benchmark.defaults), str(data)
    elif isinstance(benchmark.source, Hub):
        from colasearch.benchmarks.data_sets.hub import fetch

        items, source = fetch(benchmark, report), _hub_name(benchmark.source)
    else:
        items, source = benchmark.source(), "generated"
    digest = items_sha256(items, benchmark.loose)
    pinned = None if benchmark.sha256 is None else digest == benchmark.sha256
    if pinned is False and benchmark.binding and data is None:
        # From the hub this was tried again and explained; made on the spot it means that the generator changed.
        raise CorruptFileError(
            f"the problems of {benchmark.name} have SHA-256 {digest}, they must have {benchmark.sha256}; "
            "this version of colasearch and this Python do not make the same problems: report it, with `colasearch env`"
        )
    if pinned is False:
        remarks.append(f"these {len(items)} rows are not the {benchmark.name} rows that this version names (SHA-256)")
    if pinned is None and data is None and isinstance(benchmark.source, Hub):
        remarks.append(f"no SHA-256 is known for {benchmark.name}; the rows' own is in the manifest")
    chosen = list(items)
    if shuffle_seed is not None:
        random.Random(f"colasearch shuffle {shuffle_seed}").shuffle(chosen)
    if skip >= len(items):
        raise InputError(f"--skip is {skip}, but {source} has {len(items)} problems; leave out fewer")
    if limit is not None and skip + limit > len(items):
        more = f" after the {skip} that --skip leaves out" if skip else ""
        raise InputError(f"--limit is {limit}{more}, but {source} has {len(items)} problems; give at most that many")
    chosen = chosen[skip : None if limit is None else skip + limit]
    return DataSet(chosen, len(items), digest, selected_sha256(chosen), source, pinned, tuple(remarks))


def _hub_name(source: Hub) -> str:
    return f"{source.repo}@{source.revision or 'newest'}"


def read_jsonl(path: Path, task: str = "math", defaults: Mapping[str, Any] | None = None) -> list[Item]:
    """Items of a jsonl file with ``problem`` and ``answer`` (Countdown: ``numbers`` and ``target``).

    ``id``, ``subject`` and ``level`` are read where they are given; rows without an id are numbered.

    Raises:
        PrerequisiteError: There is no such file.
        InputError: A row cannot be used, or two have one id.
    """
    try:
        lines = path.read_text(encoding="utf-8-sig").split("\n")
    except (FileNotFoundError, IsADirectoryError):
        raise PrerequisiteError(f"data file {path} does not exist; give a jsonl file with problem and answer") from None
    except UnicodeDecodeError as error:
        raise InputError(f"{path} is not UTF-8 ({error}); convert it to UTF-8") from None
    items: list[Item] = []
    seen: dict[str, int] = {}
    for number, line in enumerate(lines, 1):
        if not line.strip():
            continue
        item = _row_item(line, f"{path} line {number}", f"{path.stem}-{number:05d}", task, defaults or {})
        first = seen.setdefault(item.problem.id, number)
        if first != number:
            raise InputError(f"{path} line {number} has the id {item.problem.id!r} of line {first}; ids must differ")
        items.append(item)
    if not items:
        raise InputError(f"{path} has no rows; a row is a JSON object with problem and answer")
    return items


def _row_item(line: str, where: str, name: str, task: str, defaults: Mapping[str, Any]) -> Item:
    try:
        row = json.loads(line)
    except ValueError as error:
        raise InputError(f"{where} is not valid JSON: {error}") from None
    if not isinstance(row, dict):
        raise InputError(f"{where} is a JSON {type(row).__name__}; a row is an object")
    if task == "countdown":
        numbers, target = row.get("numbers"), row.get("target")
        whole = isinstance(numbers, list) and all(type(n) is int for n in numbers) and type(target) is int
        if not whole or not numbers:
            raise InputError(f'{where} has no whole "numbers" and "target", which a Countdown row needs')
        data = {**defaults, **{key: row[key] for key in CHECKED_DATA if key in row}}
        text = str(row.get("problem") or "")
    else:
        data = dict(defaults)
        text = row.get("problem", "")
        if not isinstance(text, str) or not text.strip():
            raise InputError(f'{where} has no text "problem"; a row needs "problem" and "answer"')
        if not isinstance(row.get("answer"), str | int | float) or isinstance(row.get("answer"), bool):
            raise InputError(f'{where} has no "answer"; a row needs "problem" and "answer"')
    identity = row.get("id")
    return make_item(
        name if identity in (None, "") else str(identity),
        text,
        row.get("answer"),
        task,
        data,
        row.get("subject"),
        row.get("level"),
    )


def group_names(items: Sequence[Item]) -> dict[str, list[str]]:
    """The subjects and levels that the items have, sorted; a field that no item has is left out."""
    found = {
        "subject": sorted({item.subject for item in items if item.subject is not None}),
        "level": sorted({item.level for item in items if item.level is not None}),
    }
    return {name: values for name, values in found.items() if values}
