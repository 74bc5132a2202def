r"""The one reader of problem files: ``solve``, ``bench --data``, ``train`` and ``iterate`` all read through it.

A file holds rows, as jsonl (one JSON object a line), one JSON object, a JSON array of objects, or CSV (by its name)
with a header. A byte-order mark is dropped. Rows come from many hands, so a field has several names; here it gets ours:

- ``problem``, also ``question``, ``prompt``, or ``text`` where none of these is there: the wording. Where it is a list
  of chat messages, as in TRL's data sets, the last one is the wording, and ``messages`` keeps them all.
- ``answer``, also ``final_answer``, ``gold``: the gold answer. Of GSM8K's ``... #### 7`` it is what follows the mark,
  and the whole becomes ``solution``.
- ``solution``: a worked solution. Its last box is the gold answer where there is no other, as in MATH.

Countdown rows have ``numbers``, ``target`` and perhaps ``use``. Other fields are kept. Whether a row must have a gold
answer is for the caller to say (:func:`gold_of`): ``solve`` needs none.

Columns of other names are given by ``columns``, ours to theirs: ``{"problem": "Q", "answer": "A"}``. A field for which
one is named comes from that column alone.
"""

from __future__ import annotations

import csv
import io
import json
import math
import re
import stat
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from colasearch.errors import InputError
from colasearch.verifiers import extract_answer
from colasearch.wording import countdown_data

TEXT_NAMES = ("problem", "question", "prompt", "text")
GOLD_NAMES = ("answer", "final_answer", "gold")
COUNTDOWN_DATA = ("numbers", "target", "use")
"""Fields of a row that Countdown's verifier reads."""
MARK = "####"
"""Stands before the final answer in GSM8K's solutions."""
_STATED = re.compile(r"\\f?boxed|\\fbox|####|\banswers?\b", re.IGNORECASE)


@dataclass(frozen=True, slots=True)
class Row:
    """One row of a file.

    Attributes:
        number: Counted as the reader's messages do: lines of jsonl and CSV, else rows, from 1.
        where: For messages, e.g. ``data.jsonl line 3``.
        fields: The row, with our names (see the module).
        there: Names of its columns, as they stand in the file.
        columns: The names that were asked for, ours to theirs.
    """

    number: int
    where: str
    fields: dict[str, Any]
    there: tuple[str, ...] = ()
    columns: Mapping[str, str] = field(default_factory=dict)

    def lacks(self, name: str, others: str = "", kind: str = "") -> str:
        """What to say where the field ``name`` is missing, or is none of its kind.

        Args:
            name: Ours.
            others: Further names that would have been read.
            kind: Of what it must be, such as ``text``.
        """
        there = f"its columns are {', '.join(self.there)[:300] or 'none'}"
        if name in self.columns:
            return f'{self.where} has no {kind}"{self.columns[name]}", the column named for {name}; {there}'
        return f'{self.where} has no {kind}"{name}"{others}; {there}: name another by --columns {name}=COLUMN'


def read_rows(path: Path, columns: Mapping[str, str] | None = None) -> list[Row]:
    """Rows of a file.

    Args:
        path: The file.
        columns: Names of columns, ours to theirs.

    Raises:
        InputError: No such file, no plain file, not UTF-8, or a row that cannot be read; the message names it.
    """
    try:
        info = path.stat()
    except (OSError, ValueError) as error:
        why = "does not exist" if isinstance(error, FileNotFoundError) else f"cannot be opened ({error})"
        raise InputError(f"data file {path} {why}; give a jsonl, JSON or CSV file of problems") from None
    if not stat.S_ISREG(info.st_mode):
        kind = "a folder" if stat.S_ISDIR(info.st_mode) else "no plain file"
        raise InputError(f"data file {path} is {kind}; give a jsonl, JSON or CSV file of problems")
    try:
        text = path.read_bytes().decode("utf-8-sig")
    except OSError as error:
        raise InputError(f"data file {path} cannot be read: {error.strerror}") from None
    except UnicodeDecodeError as error:
        raise InputError(
            f"{path} is not UTF-8: byte 0x{error.object[error.start]:02x} at offset {error.start}; convert it to UTF-8"
        ) from None
    rows = parse_rows(text, str(path), columns)
    if not rows:
        raise InputError(f"{path} has no rows; a row is a JSON object with problem and answer")
    return rows


def parse_rows(text: str, name: str, columns: Mapping[str, str] | None = None) -> list[Row]:
    """Rows of a file's text; none for an empty one.

    Args:
        text: Without a byte-order mark.
        name: Of the file, for messages; ``.csv`` at its end says that it is CSV.
        columns: Names of columns, ours to theirs.

    Raises:
        InputError: A row cannot be read.
    """
    named = columns or {}
    if name.lower().endswith(".csv"):
        return _csv_rows(text, name, named)
    if text.lstrip().startswith("["):
        values = enumerate(_json(text, name, list), 1)
        return [_row(number, f"{name} row {number}", value, named) for number, value in values]
    lines = [(number, line) for number, line in enumerate(text.split("\n"), 1) if line.strip()]
    if len(lines) > 1 and not _is_json(lines[0][1]) and _is_json(text):
        return [_row(1, f"{name} row 1", _json(text, name), named)]  # one object, over several lines
    placed = [(number, f"{name} line {number}", line) for number, line in lines]
    return [_row(number, where, _json(line, where), named) for number, where, line in placed]


def row_of(number: int, where: str, value: bytes | Mapping[str, Any], columns: Mapping[str, str] | None = None) -> Row:
    """One row that comes by itself: a line of jsonl, or a row of a table.

    Raises:
        InputError: The line is not UTF-8, or no JSON object.
    """
    if isinstance(value, bytes):
        try:
            value = _json(value.decode("utf-8-sig"), where)
        except UnicodeDecodeError as error:
            raise InputError(f"{where} is not UTF-8 ({error}); convert it to UTF-8") from None
    return _row(number, where, dict(value) if isinstance(value, Mapping) else value, columns or {})


def _is_json(text: str) -> bool:
    try:
        json.loads(text)
    except (ValueError, RecursionError):
        return False
    return True


def _json(text: str, where: str, kind: type = object) -> Any:
    try:
        value = json.loads(text)
    except (ValueError, RecursionError) as error:
        raise InputError(f"{where} is not valid JSON: {error}") from None
    if not isinstance(value, kind):
        raise InputError(f"{where} is a JSON {type(value).__name__}; give a {kind.__name__}")
    return value


def _csv_rows(text: str, name: str, columns: Mapping[str, str]) -> list[Row]:
    reader = csv.DictReader(io.StringIO(text, newline=""), strict=True)
    rows = []
    try:
        header = reader.fieldnames or ()
        if not {*TEXT_NAMES, "numbers", *columns.values()} & set(header):
            raise InputError(
                f"{name} has the columns {', '.join(header)[:200] or 'none'}; one must be {', '.join(TEXT_NAMES)} "
                "(for Countdown: numbers and target), or be named by --columns problem=COLUMN"
            )
        for cells in reader:
            where = f"{name} line {reader.line_num}"
            if None in cells or None in cells.values():
                raise InputError(f"{where} has not {len(header)} cells, as the header has")
            row: dict[str, Any] = {key: cell for key, cell in cells.items() if cell.strip()}
            for key in (columns.get(name, name) for name in ("numbers", "target")):
                if key in row:
                    row[key] = _json(row[key], f"{where}, {key},")
            rows.append(_row(reader.line_num, where, row, columns))
    except csv.Error as error:
        raise InputError(f"{name} line {reader.line_num} is not valid CSV: {error}") from None
    return rows


def _row(number: int, where: str, value: Any, columns: Mapping[str, str]) -> Row:
    if not isinstance(value, dict):
        raise InputError(f"{where} is a JSON {type(value).__name__}; a row is an object")
    fields = dict(value)
    for name in columns:
        fields.pop(name, None)
    fields |= {name: value[theirs] for name, theirs in columns.items() if value.get(theirs) is not None}
    if "problem" not in columns:
        words = next((fields[name] for name in TEXT_NAMES[:-1] if fields.get(name) is not None), None)
        if words is not None:
            fields["problem"] = words
        else:
            fields.pop("problem", None)
    asked = fields.get("problem")
    if isinstance(asked, list) and any(isinstance(one, dict) for one in asked):  # a log of rollouts has token ids there
        _take_messages(fields, where)
    given = next((name for name in GOLD_NAMES if fields.get(name) is not None), None)
    if "answer" in columns:
        given = "answer" if "answer" in fields else None
    if given is not None:
        gold = fields[given]
        if isinstance(gold, str) and MARK in gold:
            fields.setdefault("solution", gold)
            gold = gold.rpartition(MARK)[2].strip().replace(",", "")
        fields["answer"] = gold
    return Row(number, where, fields, tuple(map(str, value)), columns)


def _take_messages(fields: dict[str, Any], where: str) -> None:
    """Make a wording of a list of chat messages, which are kept.

    Raises:
        InputError: They are none, or the last one is not the user's.
    """
    messages = fields["problem"]
    sound = all(
        isinstance(one, dict) and isinstance(one.get("role"), str) and isinstance(one.get("content"), str)
        for one in messages
    )
    if not sound or messages[-1]["role"] != "user":
        raise InputError(
            f"{where} has a problem that is neither a text nor chat messages; write [..., "
            '{"role": "user", "content": "..."}], the user\'s message last'
        )
    fields["messages"] = [{"role": one["role"], "content": one["content"]} for one in messages]
    fields["problem"] = messages[-1]["content"]


def text_of(row: Row) -> str:
    """The wording of a row's problem.

    Raises:
        InputError: It has none.
    """
    text = row.fields.get("problem", None if "problem" in row.columns else row.fields.get("text"))
    if not isinstance(text, str) or not text.strip():
        raise InputError(row.lacks("problem", f" (or {', '.join(TEXT_NAMES[1:])})", "text "))
    return text


def gold_of(row: Row, extract: Callable[[str], str | None] = extract_answer) -> str:
    """The gold answer of a row, or what its solution states.

    Args:
        row: The row.
        extract: Finds the answer in a solution.

    Raises:
        InputError: It has none, or one that is no answer (NaN, true, a list).
    """
    gold = row.fields.get("answer")
    solution = row.fields.get("solution")
    if gold is None and isinstance(solution, str) and (extract is not extract_answer or _STATED.search(solution)):
        gold = extract(solution)
    if gold is None or isinstance(gold, bool) or not isinstance(gold, str | int | float):
        raise InputError(
            row.lacks("answer", f' (or {", ".join(GOLD_NAMES[1:])}; or a "solution" that states it in a box)')
        )
    if (isinstance(gold, float) and not math.isfinite(gold)) or str(gold).strip().lower() in ("nan", ""):
        raise InputError(f'{row.where} has the "answer" {gold!r}, which is no answer; give one, or leave out the row')
    return str(gold)


def countdown_of(row: Row, defaults: Mapping[str, Any] | None = None) -> dict[str, Any]:
    """``numbers``, ``target`` and, where given, ``use`` of a Countdown row, or of its wording if it lacks both.

    Raises:
        InputError: They are missing, or not whole numbers.
    """
    given = {key: row.fields[key] for key in COUNTDOWN_DATA if row.fields.get(key) is not None}
    given = {**worded_countdown(row), **given}
    data = {**(defaults or {}), **given}
    numbers, target = data.get("numbers"), data.get("target")
    if not (isinstance(numbers, list) and numbers and all(type(n) is int for n in numbers) and type(target) is int):
        raise InputError(
            f'{row.where} has no whole "numbers" and "target", which a Countdown row needs; give them, or a wording '
            'such as "Make 24 from 3, 5, 9."'
        )
    return data


def worded_countdown(row: Row) -> dict[str, Any]:
    """What a row without numbers and target says of a Countdown problem in its wording; empty where it says none."""
    words = row.fields.get("problem")
    if not isinstance(words, str) or row.fields.keys() & {"numbers", "target"}:
        return {}
    return countdown_data(words.strip()) or {}


def is_countdown(row: Row) -> bool:
    """Whether a row is one of Countdown: it has numbers and a target."""
    return "numbers" in row.fields and "target" in row.fields


def countdown_text(data: Mapping[str, Any]) -> str:
    """The wording of a Countdown problem that has none of its own."""
    return f"Make {data['target']} from {', '.join(map(str, data['numbers']))}."
