"""Reading what the user gives: problem files, configuration files; and showing text that came from elsewhere."""

from __future__ import annotations

import json
import re
import stat
import sys
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import click

from colasearch.cli.groups import near_names
from colasearch.errors import InputError, PrerequisiteError
from colasearch.problem import Problem
from colasearch.rows import COUNTDOWN_DATA, Row, countdown_text, parse_rows
from colasearch.tasks import TASKS, get_task, problem_of, settled
from colasearch.wording import countdown_data

MAX_PROBLEM_BYTES = 1 << 20
MAX_ROWS_BYTES = 64 << 20
"""Of a file of many problems, which its name must say."""
ROWS_SUFFIXES = (".jsonl", ".json", ".csv")


def check_stdin() -> None:
    """Refuse ``-`` where the command was started without standard input (``<&-``, some job systems).

    Raises:
        InputError: It is closed.
    """
    if sys.stdin is None or sys.stdin.closed:
        raise InputError("standard input is closed, so - cannot be read; redirect a file or a pipe to it")


def _read_stdin(most: int) -> bytes:
    check_stdin()
    try:
        return sys.stdin.buffer.read(most)
    except OSError as error:
        raise InputError(f"standard input cannot be read ({error.strerror}); give a file in place of -") from None


def read_text_file(name: str) -> str:
    """The text of file ``name``, or of standard input for ``-``; a BOM is dropped, line ends become newlines.

    Raises:
        InputError: Missing, a directory or pipe, empty, too large, binary or not UTF-8. Nothing large is read.
    """
    most = MAX_ROWS_BYTES if name.lower().endswith(ROWS_SUFFIXES) else MAX_PROBLEM_BYTES
    if name == "-":
        data, where = _read_stdin(MAX_PROBLEM_BYTES + 1), "standard input"
        size = len(data)
    else:
        path, where = Path(name), name
        try:
            info = path.stat()
        except FileNotFoundError:
            raise InputError(
                f"{name} does not exist; give a text file with the problem, a jsonl, JSON or CSV file of several, or - "
                "for stdin"
            ) from None
        except (OSError, ValueError) as error:
            raise InputError(f"{name!r} cannot be opened ({error}); give a text file, or - for stdin") from None
        if stat.S_ISDIR(info.st_mode):
            raise InputError(f"{name} is a directory; give a text file with one problem, or - for stdin")
        if not stat.S_ISREG(info.st_mode):
            raise InputError(f"{name} is no regular file; to read from a pipe, give - and redirect it to stdin")
        size, data = info.st_size, b""
        if size <= most:
            try:
                data = path.read_bytes()
            except OSError as error:
                raise InputError(f"{name} cannot be read: {error.strerror}") from None
    if size > most:
        at_least = "more than " if name == "-" else ""
        raise InputError(f"{where} has {at_least}{size:,} bytes; there may be at most {most:,}")
    if b"\0" in data:
        raise InputError(f"{where} holds a NUL byte at offset {data.index(0)}; a problem is plain UTF-8 text")
    try:
        text = data.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise InputError(
            f"{where} is not UTF-8: byte 0x{data[error.start]:02x} at offset {error.start}; convert it to UTF-8"
        ) from None
    text = text.replace("\r\n", "\n").replace("\r", "\n").strip()
    if not text:
        raise InputError(f"{where} is empty; it must hold the problem's text")
    return text


def parse_problems(
    text: str,
    name: str = "-",
    task: str | None = None,
    *,
    prompt: str | None = None,
    columns: Mapping[str, str] | None = None,
) -> list[Problem]:
    """The problems of a text, in order: rows of jsonl, a JSON array or CSV (``colasearch.rows``), else one wording.

    A row has ``problem`` (or another name of it), or ``numbers`` and ``target`` for Countdown; it may name its
    ``task``, and its ``id``. Gold answers are not looked at.

    Args:
        text: Of a file or of standard input.
        name: Of the file: ``.jsonl``, ``.json`` and ``.csv`` hold rows, and nothing else.
        task: Of all problems; None: what each problem is, Countdown or else mathematics.
        prompt: Style of the prompts in place of the task's own.
        columns: Names of columns, ours to theirs, beside the task's own.

    Raises:
        InputError: A row, or the text, is no problem; or two problems have one id.
    """
    if task is not None:
        task = settled(task, prompt=prompt, columns=columns)
        columns = get_task(task).columns
    problems = _parse(text, name, task, columns)
    if task is None and prompt is not None:
        problems = [replace(problem, task=settled(problem.task, prompt=prompt)) for problem in problems]
    return problems


def _parse(text: str, name: str, task: str | None, columns: Mapping[str, str] | None) -> list[Problem]:
    where = "standard input" if name == "-" else name
    if not (name.lower().endswith(ROWS_SUFFIXES) or ROWS.match(text)):
        return [parse_problem(text, task)]
    rows = parse_rows(text, where, columns)
    if not rows:
        raise InputError(f'{where} has no rows; give at least one, such as {{"problem": "What is 2+2?"}}')
    problems = [_row_problem(row, task) for row in rows]
    known: dict[str, tuple[Row, Problem]] = {}
    for row, problem in zip(rows, problems, strict=True):
        first, other = known.setdefault(problem.id, (row, problem))
        if other != problem:
            raise InputError(f"{row.where} has the id {problem.id!r} of {first.where}; ids of problems must differ")
    return problems


ROWS = re.compile(r'\{\s*"|\[\s*(?:\{|"|\])')
"""How JSON begins: a problem in words may well begin with a bracket, but hardly so."""


def parse_problem(text: str, task: str | None = None) -> Problem:
    """The one problem that ``text`` states.

    A Countdown problem is a JSON object with ``numbers`` and ``target``; or a text in one of our own wordings (``Make
    52 from 4, 7, 8.`` and the prompt's ``Use the numbers 4, 7, 8, each at most once, ... to make 52.``); or, where
    ``task`` is ``countdown``, any text whose whole numbers are the given numbers followed by the target.

    Args:
        text: Of a file or of standard input.
        task: Its task; None: what the text is, Countdown or else mathematics.

    Raises:
        InputError: Not one problem: JSON that cannot be read, no two numbers and a target, or more than one problem.
    """
    if ROWS.match(text):
        problems = parse_problems(text, "-", task)
        if len(problems) > 1:
            raise InputError(f"the text holds {len(problems)} problems, and one is asked for")
        return problems[0]
    worded = countdown_data(text)
    task = task or ("math" if worded is None else "countdown")
    if (known := get_task(task)).name != "countdown":
        needed = [name for name in known.data if not name.endswith("?")]
        if needed:
            raise InputError(
                f"the task {known.name!r} needs {', '.join(needed)} beside the wording; give rows, such as "
                f'{{"problem": "...", "{needed[0]}": ...}}, in a jsonl file'
            )
        return Problem.from_text(text, task)
    if worded is not None:
        return _countdown(text, worded["numbers"], worded["target"], worded.get("use"), task)
    found = [int(n) for n in re.findall(r"(?<![\d.])\d{1,9}(?![\d.]*\d)", text)]
    return _countdown(text, found[:-1], found[-1] if found else None, None, task)


def _row_problem(row: Row, task: str | None) -> Problem:
    named = row.fields.get("task")
    if task is None or get_task(task) is TASKS.get(task):  # a column of that name is something else to a task of others
        if named not in (None, *TASKS) or (task and named and named != task):
            rule = f"--task says {task}" if task else f"it must be one of {', '.join(sorted(TASKS))}"
            raise InputError(f'the "task" of {row.where} is {named!r}; {rule}')
        task = task or named or ("countdown" if "numbers" in row.fields else "math")
    if get_task(task).name == "countdown":
        fields = {key: row.fields.get(key) for key in COUNTDOWN_DATA}
        problem = _countdown(json.dumps(row.fields), fields["numbers"], fields["target"], fields["use"], task)
        words = row.fields.get("problem")
        text = words if isinstance(words, str) and words.strip() else countdown_text(problem.data)
        problem = Problem.from_text(text.strip(), task, problem.data)
    else:
        problem = problem_of(row, task)
        problem = Problem.from_text(problem.text.strip(), task, problem.data)
    identity = row.fields.get("id")
    return problem if identity in (None, "") else replace(problem, id=str(identity))


def _countdown(text: str, numbers: Any, target: Any, use: Any, task: str) -> Problem:
    def whole(value: Any) -> bool:
        return isinstance(value, int) and not isinstance(value, bool)

    if not isinstance(numbers, list) or len(numbers) < 2 or not all(map(whole, numbers)) or not whole(target):
        raise InputError(
            f"no Countdown problem in {text[:80]!r}; give at least two whole numbers and then the target, "
            'as text or as {"numbers": [3, 5, 7], "target": 26}'
        )
    if use not in (None, "all"):
        raise InputError(f'"use" is {use!r}; it is "all" (every number exactly once) or left out (at most once)')
    return Problem.from_text(text, task, {"numbers": numbers, "target": target, **({"use": use} if use else {})})


def load_config(ctx: click.Context, param: click.Parameter, value: Path | None) -> Path | None:
    """Click callback of ``--config``: YAML options become defaults, below flags and environment variables.

    Raises:
        PrerequisiteError: The file cannot be read, is no mapping, or names an unknown option.
    """
    if value is None:
        return None
    import yaml

    try:
        data = yaml.safe_load(value.read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError, yaml.YAMLError) as error:
        raise PrerequisiteError(f"config file {value} cannot be read: {error}") from None
    if not isinstance(data, dict):
        raise PrerequisiteError(f"config file {value} holds no mapping; write lines such as `sims: 64`")
    options = {str(key).replace("-", "_"): item for key, item in data.items()}
    known = {p.name for p in ctx.command.params if isinstance(p, click.Option)} - {param.name}
    unknown = sorted(set(options) - known)
    if unknown:
        names = sorted(filter(None, known))
        raise PrerequisiteError(
            f"config file {value} sets unknown options {unknown}; this command knows {names}."
            f"{near_names(unknown[0], names)}"
        )
    many = {p.name for p in ctx.command.params if isinstance(p, click.Option) and p.multiple}
    listed = {key: [item] if key in many and isinstance(item, str) else item for key, item in options.items()}
    ctx.default_map = {**(ctx.default_map or {}), **listed}
    return value
