"""Reading what the user gives: problem files, configuration files; and showing text that came from elsewhere."""

from __future__ import annotations

import json
import re
import stat
import sys
from pathlib import Path
from typing import Any

import click

from colasearch.errors import InputError, PrerequisiteError
from colasearch.problem import Problem

MAX_PROBLEM_BYTES = 1 << 20


def read_text_file(name: str) -> str:
    """The text of file ``name``, or of standard input for ``-``; a BOM is dropped, line ends become newlines.

    Raises:
        InputError: Missing, a directory or pipe, empty, too large, binary or not UTF-8. Nothing large is read.
    """
    if name == "-":
        data, where = sys.stdin.buffer.read(MAX_PROBLEM_BYTES + 1), "standard input"
        size = len(data)
    else:
        path, where = Path(name), name
        try:
            info = path.stat()
        except FileNotFoundError:
            raise InputError(f"{name} does not exist; give a text file with the problem, or - for stdin") from None
        except (OSError, ValueError) as error:
            raise InputError(f"{name!r} cannot be opened ({error}); give a text file, or - for stdin") from None
        if stat.S_ISDIR(info.st_mode):
            raise InputError(f"{name} is a directory; give a text file with one problem, or - for stdin")
        if not stat.S_ISREG(info.st_mode):
            raise InputError(f"{name} is no regular file; to read from a pipe, give - and redirect it to stdin")
        size, data = info.st_size, b""
        if size <= MAX_PROBLEM_BYTES:
            try:
                data = path.read_bytes()
            except OSError as error:
                raise InputError(f"{name} cannot be read: {error.strerror}") from None
    if size > MAX_PROBLEM_BYTES:
        at_least = "more than " if name == "-" else ""
        raise InputError(f"{where} has {at_least}{size:,} bytes; a problem has at most {MAX_PROBLEM_BYTES:,}")
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


def parse_problem(text: str, task: str | None = None) -> Problem:
    """The problem that ``text`` states.

    A Countdown problem is a JSON object with ``numbers`` and ``target``; or a text in one of our own wordings (``Make
    52 from 4, 7, 8.`` and the prompt's ``Use the numbers 4, 7, 8, each at most once, ... to make 52.``); or, where
    ``task`` is ``countdown``, any text whose whole numbers are the given numbers followed by the target.

    Args:
        text: Of a file or of standard input.
        task: ``math``, ``countdown``, or None: what the text is, Countdown or else mathematics. A JSON object may also
            name its task, under ``task``.

    Raises:
        InputError: Not one problem: JSON that cannot be read, no two numbers and a target, or more than one problem.
    """
    row = _json_object(text)
    if row is not None:
        named = row.get("task")
        if named not in (None, "math", "countdown") or (task and named and named != task):
            rule = f"--task says {task}" if task else "it must be math or countdown"
            raise InputError(f'the problem\'s "task" is {named!r}; {rule}')
        task = task or named or ("countdown" if "numbers" in row else "math")
        if task == "countdown":
            return _countdown(text, row.get("numbers"), row.get("target"), row.get("use"))
        words = row.get("problem", row.get("text"))
        if not isinstance(words, str) or not words.strip():
            raise InputError('the JSON object has no "problem", a text; nor "numbers" and "target", for Countdown')
        return Problem.from_text(words.strip(), task)
    worded = next(filter(None, (pattern.fullmatch(text) for pattern in COUNTDOWN_WORDINGS)), None)
    if task == "math" or (task is None and worded is None):
        return Problem.from_text(text, "math")
    if worded is not None:
        numbers = [int(n) for n in re.findall(r"\d+", worded["numbers"])]
        return _countdown(text, numbers, int(worded["target"]), "all" if "exactly once" in text else None)
    found = [int(n) for n in re.findall(r"(?<![\d.])\d{1,9}(?![\d.]*\d)", text)]
    return _countdown(text, found[:-1], found[-1] if found else None, None)


_LIST = r"(?P<numbers>\d{1,9}(?:(?:, ?| | and |, and )\d{1,9})+)"
COUNTDOWN_WORDINGS = (
    re.compile(rf"Make (?P<target>\d{{1,9}}) (?:from|with|using) {_LIST}\.?", re.IGNORECASE),
    re.compile(
        rf"Use the numbers {_LIST}, each (?:at most|exactly) once,[^\d]*to make (?P<target>\d{{1,9}})\.?[^\d]*",
        re.IGNORECASE,
    ),
)
"""How training rows and the prompt word a Countdown problem. In the first the target comes before the numbers."""


def _json_object(text: str) -> dict[str, Any] | None:
    """The JSON object that ``text`` is; None for any other text (a problem may well begin with a bracket)."""
    if not re.match(r'\{\s*"', text):
        return None
    try:
        data, end = json.JSONDecoder().raw_decode(text)
    except ValueError as error:
        raise InputError(
            f"the text begins as a JSON object but cannot be read as one ({error}): {text[:80]!r}"
        ) from None
    if text[end:].strip():
        raise InputError(
            "more follows after the first JSON object; solve takes one problem: give the lines one by one, or all of "
            "them to `colasearch bench countdown --data FILE`"
        )
    assert isinstance(data, dict)
    return data


def _countdown(text: str, numbers: Any, target: Any, use: Any) -> Problem:
    def whole(value: Any) -> bool:
        return isinstance(value, int) and not isinstance(value, bool)

    if not isinstance(numbers, list) or len(numbers) < 2 or not all(map(whole, numbers)) or not whole(target):
        raise InputError(
            f"no Countdown problem in {text[:80]!r}; give at least two whole numbers and then the target, "
            'as text or as {"numbers": [3, 5, 7], "target": 26}'
        )
    if use not in (None, "all"):
        raise InputError(f'"use" is {use!r}; it is "all" (every number exactly once) or left out (at most once)')
    return Problem.from_text(text, "countdown", {"numbers": numbers, "target": target, **({"use": use} if use else {})})


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
        raise PrerequisiteError(
            f"config file {value} sets unknown options {unknown}; this command knows {sorted(filter(None, known))}"
        )
    ctx.default_map = {**(ctx.default_map or {}), **options}
    return value
