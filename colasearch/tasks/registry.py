"""Tasks by name, and by reference: what ``Problem.task`` holds and ``--task`` takes.

A reference is the name of a task (registered here, or an entry point of the group ``colasearch.tasks``), or a file,
``FILE.py[:NAME]`` or ``FILE.yaml``; options may stand behind a question mark: ``math?prompt=paper``. It is a text, so
that it travels with a problem to Ray workers, into traces and manifests; each process finds the task by it.

A Python file is run when its task is found, so only files that a user has named (:func:`settled`) or that came from a
driver (:func:`adopt`) are looked at, never one that data names.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any
from urllib.parse import parse_qsl, quote, urlencode

from colasearch.errors import InputError
from colasearch.tasks.builtin import BUILTIN
from colasearch.tasks.styles import FEW_SHOT, style_of
from colasearch.tasks.task import Task
from colasearch.tasks.yaml_file import task_of_yaml
from colasearch.userfile import file_sha256, installed, load_file

GROUP = "colasearch.tasks"
"""Entry points of this group are tasks (or functions that make one), found by their names."""
TASKS: dict[str, Task] = {task.name: task for task in BUILTIN}
"""Registered tasks by name."""
_FILE = re.compile(r"(?P<path>.+\.(?:py|ya?ml))(?::(?P<name>[A-Za-z_]\w*))?")
_adopted: set[str] = set()
_made: dict[str, Task] = {}


def register(task: Task) -> Task:
    """Make a task known by its name in this process (not on Ray workers: there an entry point or a file is found).

    Raises:
        InputError: Another task has that name.
    """
    if TASKS.setdefault(task.name, task) is not task:
        raise InputError(f"there is a task {task.name!r} already; give yours another name")
    return task


def get_task(ref: str) -> Task:
    """The task of a reference.

    Raises:
        InputError: There is none, or its file was named by nobody but data.
        PrerequisiteError: An installed package's task cannot be imported.
    """
    if ref in TASKS:
        return TASKS[ref]
    if ref not in _made:
        _made[ref] = _make(ref)
    return _made[ref]


def settled(ref: str, *, prompt: str | None = None, columns: Mapping[str, str] | None = None) -> str:
    """A user's reference with absolute paths, as it is kept in ``Problem.task``; its file may be run from now on.

    Args:
        ref: As given by the user.
        prompt: Style in place of the task's own.
        columns: Names of columns beside the task's own, ours to theirs.

    Raises:
        InputError: There is no such task, or an option is wrong.
    """
    base, options = _parts(ref)
    file = _FILE.fullmatch(base)
    if file and base not in TASKS:
        base = str(Path(file["path"]).expanduser().resolve()) + (f":{file['name']}" if file["name"] else "")
        _adopted.add(base)
    if prompt is not None:
        options["prompt"] = prompt
    if columns:
        named = dict(get_task(_joined(base, {})).columns) | _columns(options.get("columns", "")) | dict(columns)
        options["columns"] = ",".join(f"{ours}={theirs}" for ours, theirs in named.items())
    if options.get("prompt", "").startswith(f"{FEW_SHOT}:"):
        path = options["prompt"].partition(":")[2]
        options["prompt"] = f"{FEW_SHOT}:{Path(path).expanduser().resolve()}"
    whole = _joined(base, options)
    examples = style_of(get_task(whole).prompt)[1]
    if examples and not Path(examples).is_file():
        raise InputError(f"the examples {examples} of {FEW_SHOT} do not exist; give a jsonl file of solved problems")
    return whole


def adopt(refs: Iterable[str]) -> None:
    """Trust the files of references that come from a process which a user told them."""
    _adopted.update(_parts(ref)[0] for ref in refs if _FILE.fullmatch(_parts(ref)[0]))


def hashes_of(refs: Iterable[str]) -> dict[str, str]:
    """SHA-256 of the files that tasks come from and take examples from, for a run's manifest."""
    found = {}
    for ref in refs:
        base, _ = _parts(ref)
        if base not in TASKS and (file := _FILE.fullmatch(base)):
            found[file["path"]] = file_sha256(file["path"])
        if examples := style_of(get_task(ref).prompt)[1]:
            found[examples] = file_sha256(examples)
    return found


def plain_columns(columns: Mapping[str, str], row: Mapping[str, Any]) -> dict[str, Any]:
    """A row with our names under the names that a task's data has."""
    return {columns.get(name, name): value for name, value in row.items()}


def columns_of(text: str) -> dict[str, str]:
    """``problem=Q,answer=A`` as a mapping of our names to theirs.

    Raises:
        InputError: It is no such list.
    """
    found = _columns(text)
    if not found or not all(ours.isidentifier() and theirs for ours, theirs in found.items()):
        raise InputError(f"--columns is {text!r}; write our names and yours, as in problem=Q,answer=A")
    return found


def _columns(text: str) -> dict[str, str]:
    pairs = (part.partition("=") for part in text.split(",") if part.strip())
    return {ours.strip(): theirs.strip() for ours, _, theirs in pairs}


def _parts(ref: str) -> tuple[str, dict[str, str]]:
    base, _, query = ref.partition("?")
    return base, dict(parse_qsl(query, keep_blank_values=True))


def _joined(base: str, options: Mapping[str, str]) -> str:
    return f"{base}?{urlencode(options, quote_via=quote, safe='/:,=')}" if options else base


def _make(ref: str) -> Task:
    base, options = _parts(ref)
    unknown = set(options) - {"prompt", "columns"}
    if unknown:
        raise InputError(f"task {ref!r} has the option {min(unknown)!r}; it may have prompt and columns")
    task = TASKS.get(base) or _found(base)
    if "columns" in options:
        task = replace(task, columns=columns_of(options["columns"]))
    if "prompt" in options:
        style = style_of(options["prompt"])[0]
        task = replace(task, prompt=options["prompt"], form="think-answer" if style == "think" else task.form)
    return task


def _found(base: str) -> Task:
    file = _FILE.fullmatch(base)
    if file is None:
        return _entry(base)
    if base not in _adopted:
        raise InputError(f"the task {base!r} is a file that only data names, so it is not run; give it as --task")
    if not file["path"].endswith(".py"):
        return task_of_yaml(Path(file["path"]))
    module, name, path = load_file(file["path"]), file["name"], file["path"]
    there = {key: value for key, value in vars(module).items() if isinstance(value, Task)}
    listed = ", ".join(there) or "none"
    if name is not None:
        if not hasattr(module, name):
            raise InputError(f"{path} has no {name!r}; its tasks are {listed}: name one, as in {path}:NAME")
        return _checked(getattr(module, name), base)
    if "task" in there or len(there) == 1:
        return there.get("task") or next(iter(there.values()))
    raise InputError(f"{path} has {len(there)} tasks ({listed}); name one, as in {path}:NAME, or call it task")


def _checked(found: Any, name: str) -> Task:
    if callable(found) and not isinstance(found, Task):
        try:
            found = found()
        except Exception as error:  # the user's code
            raise InputError(f"{name} raised {type(error).__name__}: {str(error)[:200]}") from error
    if not isinstance(found, Task):
        raise InputError(
            f"{name} is a {type(found).__name__}; make it a colasearch.tasks.Task, or a function that returns one"
        )
    return found


def _entry(name: str) -> Task:
    advice = "A task of your own is a file, FILE.py:NAME or FILE.yaml (docs/tasks.md)."
    return _checked(installed(GROUP, name, "task", ours=TASKS, advice=advice), name)
