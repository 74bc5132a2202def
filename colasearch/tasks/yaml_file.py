"""A task as a YAML file, for the plain cases: nothing in it is run."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from difflib import get_close_matches
from pathlib import Path
from typing import Any

import yaml

from colasearch.errors import InputError
from colasearch.tasks.styles import FEW_SHOT
from colasearch.tasks.task import Task, last_line, matching
from colasearch.verifiers.extract import extract_choice, extract_countdown, extract_math

ANSWERS: dict[str, Callable[[str], str | None]] = {
    "math": extract_math,
    "countdown": extract_countdown,
    "choice": extract_choice,
    "last-line": last_line,
    "whole": str.strip,
}
"""What ``answer:`` may say."""
KINDS: dict[str, type | tuple[type, ...]] = {
    "name": str,
    "request": str,
    "system": str,
    "verifier": str,
    "answer": str,
    "pattern": str,
    "columns": dict,
    "data": list,
    "prompt": str,
    "form": str,
    "branch_below": (int, float),
    "text_tokens": int,
}
"""Keys of such a file, and of what kind their values are."""


def task_of_yaml(path: Path) -> Task:
    """The task that a file describes.

    Raises:
        InputError: It cannot be read, or says something that a task has not.
    """
    try:
        given = yaml.safe_load(path.read_text(encoding="utf-8-sig"))
    except OSError as error:
        raise InputError(f"task file {path} cannot be read ({error.strerror}); give the path of a YAML file") from None
    except (UnicodeDecodeError, yaml.YAMLError) as error:
        raise InputError(f"task file {path} is no YAML: {' '.join(str(error).split())[:200]}") from None
    if not isinstance(given, dict):
        raise InputError(f"task file {path} holds no mapping; write lines such as `verifier: math`")
    _check(given, path)
    told = {key: value for key, value in given.items() if key not in ("answer", "pattern", "data", "prompt")}
    if "data" in given:
        told["data"] = tuple(map(str, given["data"]))
    if "prompt" in given:
        told["prompt"] = _beside(given["prompt"], path)
    try:
        return Task(**{"name": path.stem, "answer": _answer(given), **told})
    except InputError as error:
        raise InputError(f"task file {path}: {error}") from None


def _check(given: Mapping[Any, Any], path: Path) -> None:
    for key, value in given.items():
        if key not in KINDS:
            near = get_close_matches(str(key), KINDS, n=1)
            meant = f" Did you mean {near[0]}?" if near else ""
            raise InputError(f"task file {path} sets {key!r}; a task has {', '.join(KINDS)}.{meant}")
        kinds = KINDS[key]
        if not isinstance(value, kinds) or isinstance(value, bool):
            wanted = "number" if isinstance(kinds, tuple) else {"dict": "mapping", "str": "text"}.get(
                kinds.__name__, kinds.__name__)  # fmt: skip
            raise InputError(f"task file {path}: {key} is {str(value)[:60]!r}; it must be a {wanted}")
    wrong = [one for one in {**given.get("columns", {})}.items() if not all(isinstance(part, str) for part in one)]
    if wrong:
        raise InputError(f"task file {path}: columns has {wrong[0]!r}; write our name and yours, as in `problem: Q`")


def _answer(given: Mapping[str, Any]) -> Callable[[str], str | None] | None:
    if "pattern" in given:
        if "answer" in given:
            raise InputError("answer and pattern both say what the answer is; give one")
        return matching(given["pattern"])
    if "answer" not in given:
        return None
    if given["answer"] not in ANSWERS:
        raise InputError(f"answer is {given['answer']!r}; it must be one of {', '.join(ANSWERS)}, or give a pattern")
    return ANSWERS[given["answer"]]


def _beside(prompt: str, path: Path) -> str:
    """A few-shot style whose file is looked for beside the task's."""
    name, _, file = prompt.partition(":")
    return f"{FEW_SHOT}:{path.parent.resolve() / file}" if name == FEW_SHOT and file else prompt
