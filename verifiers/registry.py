"""Verifiers by name; each is imported when it is first asked for."""

from __future__ import annotations

from importlib import import_module
from typing import Any

from colasearch.errors import InputError
from colasearch.verifiers.base import CheckableVerifier, GoldVerifier

VERIFIERS: dict[str, tuple[str, str]] = {
    "choice": ("colasearch.verifiers.choice", "Choice"),
    "countdown": ("colasearch.verifiers.countdown", "Countdown"),
    "format": ("colasearch.verifiers.format", "Format"),
    "math": ("colasearch.verifiers.math", "Math"),
    "numeric": ("colasearch.verifiers.numeric", "Numeric"),
    "procedural": ("colasearch.verifiers.procedural", "Procedural"),
}
"""Verifier: (module, class)."""


def _verifier_class(task: str) -> Any:
    if task not in VERIFIERS:
        raise InputError(f"task {task!r} is not known; the tasks are {', '.join(sorted(VERIFIERS))}")
    module, name = VERIFIERS[task]
    return getattr(import_module(module), name)


def is_checkable(task: str) -> bool:
    """Whether the task's verifier needs no gold answer, so that a searcher may use it.

    Raises:
        InputError: if there is no such task.
    """
    return bool(_verifier_class(task).checkable)


def get_verifier(task: str, **options: Any) -> Any:
    """The verifier of a task, made with ``options``; a ``CheckableVerifier`` or a ``GoldVerifier``.

    Raises:
        InputError: if there is no such task.
    """
    return _verifier_class(task)(**options)


def checkable_verifier(task: str, **options: Any) -> CheckableVerifier:
    """The task's verifier for use in a search.

    Raises:
        InputError: if there is no such task, or its verifier needs the gold answer.
    """
    if not is_checkable(task):
        raise InputError(f"the verifier of task {task!r} needs the gold answer; a search may use checkable ones only")
    verifier: CheckableVerifier = get_verifier(task, **options)
    return verifier


def gold_verifier(task: str, **options: Any) -> GoldVerifier:
    """The task's verifier for use in scoring.

    Raises:
        InputError: if there is no such task, or its verifier takes no gold answer.
    """
    if is_checkable(task):
        raise InputError(f"the verifier of task {task!r} takes no gold answer; use checkable_verifier")
    verifier: GoldVerifier = get_verifier(task, **options)
    return verifier
