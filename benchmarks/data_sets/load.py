"""What a benchmark is, and how its problems are brought in: from the hub, from a file, or made on the spot.

Whatever the source, rows become ``Item``s with the same fields, and a SHA-256 over them says whether two runs had the
same problems. Only the scorer sees an item's gold answer.
"""

from __future__ import annotations

import random
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from colasearch.benchmarks.data_sets.base import Benchmark, Hub, Item, items_sha256, make_item, selected_sha256
from colasearch.errors import CorruptFileError, InputError
from colasearch.rows import Row, read_rows
from colasearch.tasks import get_task, labelled_of, settled


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
    task: str | None = None,
    prompt: str | None = None,
    columns: Mapping[str, str] | None = None,
    report: Callable[[str], None] = lambda text: None,
) -> DataSet:
    """The problems of a run.

    Args:
        benchmark: What to load.
        data: A file of problems (``colasearch.rows``) to read in place of the benchmark's own source.
        limit: Take only so many.
        skip: Leave out so many before the first.
        shuffle_seed: Take them in an order drawn from this seed, rather than in the source's.
        task: Reference of a task in place of the benchmark's own.
        prompt: Style of the prompts in place of the task's own.
        columns: Names of columns of ``data``, ours to theirs, beside the task's own.
        report: Told what is being done.

    Raises:
        PrerequisiteError: The data cannot be had; the message says how to get it.
        CorruptFileError: The rows are not the benchmark's, and its hash is binding.
        InputError: A row of ``data`` cannot be used, or ``skip`` and ``limit`` exceed the rows.
    """
    remarks: list[str] = []
    if data is not None:
        ref = settled(task or benchmark.task, prompt=prompt, columns=columns)
        items, source = read_items(data, ref, {} if task else benchmark.defaults), str(data)
    elif isinstance(benchmark.source, Hub):
        from colasearch.benchmarks.data_sets.hub import fetch

        items, source = fetch(benchmark, report), _hub_name(benchmark.source)
    else:
        items, source = list(benchmark.source()), "generated"
    if data is None and (task or prompt):
        items = [_asked_as(item, settled(task or item.problem.task, prompt=prompt)) for item in items]
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


def read_items(path: Path, task: str = "math", defaults: Mapping[str, Any] | None = None) -> list[Item]:
    """Items of a file of problems with gold answers (Countdown: ``numbers`` and ``target``); see ``colasearch.rows``.

    ``id``, ``subject`` (MATH: ``type``) and ``level`` are read where they are given; rows without an id are numbered.

    Raises:
        InputError: There is no such file, a row cannot be used, or two have one id.
    """
    items: list[Item] = []
    seen: dict[str, str] = {}
    for row in read_rows(path, get_task(task).columns):
        identity = row.fields.get("id")
        name = f"{path.stem}-{row.number:05d}" if identity in (None, "") else str(identity)
        item = _item(row, name, task, defaults or {})
        first = seen.setdefault(name, row.where)
        if first != row.where:
            raise InputError(f"{row.where} has the id {name!r} of {first}; ids must differ")
        items.append(item)
    return items


def _item(row: Row, name: str, task: str, defaults: Mapping[str, Any]) -> Item:
    labelled = labelled_of(row, task, defaults)
    subject, level = (next((row.fields[key] for key in keys if key in row.fields), None) for keys in _GROUPS)
    return make_item(name, labelled.problem.text, labelled.gold, task, labelled.problem.data, subject, level)


def _asked_as(item: Item, ref: str) -> Item:
    """The item under another task."""
    problem = replace(item.problem, task=ref)
    return replace(item, labelled=replace(item.labelled, problem=problem))


_GROUPS = (("subject", "type"), ("level",))
"""Names of a row's groups in other data sets."""


def group_names(items: Sequence[Item]) -> dict[str, list[str]]:
    """The subjects and levels that the items have, sorted; a field that no item has is left out."""
    found = {
        "subject": sorted({item.subject for item in items if item.subject is not None}),
        "level": sorted({item.level for item in items if item.level is not None}),
    }
    return {name: values for name, values in found.items() if values}
