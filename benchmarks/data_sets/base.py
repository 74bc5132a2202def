"""What a benchmark is: its problems, where they come from, and the hash that says whether two runs had the same."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from colasearch.problem import LabelledProblem, Problem
from colasearch.rows import COUNTDOWN_DATA


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
    source: Hub | Callable[[], Sequence[Item]]
    rows: int | None
    sha256: str | None = None
    binding: bool = False
    loose: bool = False
    note: str = ""
    defaults: Mapping[str, Any] = field(default_factory=dict)


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
    data = {key: item.problem.data[key] for key in COUNTDOWN_DATA if key in item.problem.data}
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
