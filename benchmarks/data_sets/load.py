"""What a benchmark is, and how its problems are brought in: from the hub, from a file, or made on the spot.

Whatever the source, rows become ``Item``s with the same fields, and a SHA-256 over them says whether two runs had the
same problems. Only the scorer sees an item's gold answer.
"""

from __future__ import annotations

import hashlib
import json
import random
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from colasearch.errors import CorruptFileError, InputError, PrerequisiteError
from colasearch.problem import LabelledProblem, Problem

CHECKED_DATA = ("numbers", "target", "use")
"""Fields of a row that a checkable verifier reads."""


@dataclass(frozen=True, slots=True)
class Item:
    """One problem of a benchmark.

    Attributes:
        labelled: The problem and its gold answer (for a checkable task only what the data says, often empty).
        subject, level: As the data has them; None where it has none.
    """

    labelled: LabelledProblem
    subject: str | None = None
    level: str | None = None

    @property
    def problem(self) -> Problem:
        """What a searcher may see."""
        return self.labelled.problem


@dataclass(frozen=True, slots=True)
class Hub:
    """Where a benchmark's rows are on the Hugging Face hub.

    Attributes:
        repo: Name of the dataset repository.
        revision: Commit; None where it is not known, so that the hub's newest is taken.
        splits: Splits to read, one after the other.
        configs: Configurations to read, one after the other; None for the default.
        convert: Makes an item of a row, its number and its configuration; None leaves the row out.
    """

    repo: str
    revision: str | None
    splits: tuple[str, ...]
    convert: Callable[[Mapping[str, Any], int, str | None], Item | None]
    configs: tuple[str | None, ...] = (None,)


@dataclass(frozen=True, slots=True)
class Benchmark:
    """A set of problems and how they are asked and scored.

    Attributes:
        name: As in ``colasearch bench NAME``.
        title: One line for people.
        task: Prompt, answer extraction and verifier (``colasearch.tasks``, ``colasearch.verifiers``).
        source: The hub, or a function that makes the items.
        rows: How many there must be; None where it is not known.
        sha256: Of the items, by :func:`items_sha256`; None where no copy was at hand to compute it from.
        binding: A different hash is an error. Otherwise it is a warning: the hash comes from another copy of the same
            rows, whose wording may differ in a blank, and the revision is what pins them.
        loose: The hash leaves out blanks and full stops (copies of the data set differ in them).
        note: Where the hash comes from, and the licence.
        defaults: ``Problem.data`` that every row has unless it says otherwise (the game of 24 uses all numbers).
    """

    name: str
    title: str
    task: str
    source: Hub | Callable[[], list[Item]]
    rows: int | None
    sha256: str | None = None
    binding: bool = False
    loose: bool = False
    note: str = ""
    defaults: Mapping[str, Any] = field(default_factory=dict)


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


def make_item(
    identity: str,
    text: str,
    gold: Any,
    task: str = "math",
    data: Mapping[str, Any] | None = None,
    subject: Any = None,
    level: Any = None,
) -> Item:
    """An item from a row's parts, as strings."""
    problem = Problem(id=identity, text=text, task=task, data=dict(data or {}))
    return Item(
        LabelledProblem(problem, "" if gold is None else str(gold)),
        None if subject in (None, "") else str(subject),
        None if level in (None, "") else str(level),
    )


def _content(item: Item, loose: bool) -> str:
    text = "".join(c for c in item.problem.text if not c.isspace() and c != ".") if loose else item.problem.text
    data = {key: item.problem.data[key] for key in CHECKED_DATA if key in item.problem.data}
    if data:
        # A Countdown problem is its numbers and its target; the wording around them is ours.
        return json.dumps([sorted(data.get("numbers", [])), data.get("target"), data.get("use")])
    return json.dumps([text, item.labelled.gold], ensure_ascii=False)


def items_sha256(items: Iterable[Item], loose: bool = False) -> str:
    """SHA-256 over problems and answers; their order and ids do not count."""
    lines = sorted(_content(item, loose) for item in items)
    return hashlib.sha256("\n".join(lines).encode()).hexdigest()


def selected_sha256(items: Iterable[Item]) -> str:
    """SHA-256 over ids, problems and answers in their order."""
    lines = [json.dumps([item.problem.id, _content(item, False)], ensure_ascii=False) for item in items]
    return hashlib.sha256("\n".join(lines).encode()).hexdigest()


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
