"""Texts as problems: what somebody typed, sent or put into a file."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from colasearch.errors import InputError
from colasearch.problem import Problem
from colasearch.rows import COUNTDOWN_DATA, Row, countdown_text, parse_rows, worded_countdown
from colasearch.tasks.problems import problem_of
from colasearch.tasks.registry import TASKS, get_task, settled
from colasearch.wording import countdown_data

ROWS_SUFFIXES = (".jsonl", ".json", ".csv")
"""Names of files that hold rows."""


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
        # With an answer beside it, what is worded like Countdown is a question of mathematics.
        worded = "answer" not in row.fields and bool(worded_countdown(row))
        task = task or named or ("countdown" if "numbers" in row.fields or worded else "math")
    if get_task(task).name == "countdown":
        fields = {**dict.fromkeys(COUNTDOWN_DATA), **worded_countdown(row), **row.fields}
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
