"""Environments by reference: a name of ours, an entry point of ``colasearch.environments``, or ``FILE.py:Class``."""

from __future__ import annotations

import re
from collections.abc import Callable
from importlib import import_module
from pathlib import Path
from typing import Any

from colasearch.environments.base import Kind
from colasearch.errors import InputError
from colasearch.userfile import attribute_of, installed, load_file

GROUP = "colasearch.environments"
"""Entry points of this group are environment classes (or functions that make one), found by their names."""
OURS: dict[str, tuple[str, str]] = {
    "house": ("colasearch.environments.text_world.house", "kind"),
    "scienceworld": ("colasearch.environments.scienceworld", "kind"),
    "textworld": ("colasearch.environments.textworld", "kind"),
}
"""Name: (module, function that gives the ``Kind``)."""
_FILE = re.compile(r"(?P<path>.+?\.py)(?::(?P<name>[A-Za-z_]\w*))?(?::(?P<task>.+))?", re.DOTALL)


def find(ref: str, **options: Any) -> tuple[Kind, str | None]:
    """The kind of environment of a reference, and the task (or tasks, with commas between them) that it names.

    Args:
        ref: ``NAME[:TASKS]`` or ``FILE.py[:Class[:TASKS]]``. The file is run.
        options: Of ours that take any: ``servers``, ``timeout``.

    Raises:
        InputError: There is none.
        PrerequisiteError: It needs a package or program that is absent, or cannot be imported.
    """
    file = _FILE.fullmatch(ref)
    if file is not None:
        return _of_file(file["path"], file["name"], ref), file["task"] or None
    name, _, task = ref.partition(":")
    if name in OURS:
        module, function = OURS[name]
        kind: Kind = getattr(import_module(module), function)(**options)
        return kind, task or None
    return _entry(name), task or None


def settled(ref: str) -> str:
    """The same reference with the path of a file made whole, for commands that run elsewhere."""
    file = _FILE.fullmatch(ref)
    return ref if file is None else f"{Path(file['path']).expanduser().resolve()}{ref[file.end('path') :]}"


def _of_file(path: str, name: str | None, ref: str) -> Kind:
    module = load_file(path)
    whole = str(Path(path).expanduser().resolve())
    if name is None:
        there = [
            key
            for key, value in vars(module).items()
            if isinstance(value, type) and value.__module__ == module.__name__ and _fits(value)
        ]
        if len(there) != 1:
            raise InputError(
                f"{path} has {len(there)} classes with reset and step ({', '.join(there) or 'none'}); name one as "
                f"{path}:NAME"
            )
        name = there[0]
    found = attribute_of(module, name, path)
    return Kind(f"{path}:{name}", _maker(found, f"{path}:{name}"), file=whole, slots=_slots(found))


def _slots(found: Any) -> int | None:
    """One environment that stands in a file ready made can play one episode at a time."""
    return 1 if not isinstance(found, type) and _fits(found) else None


def _fits(value: Any) -> bool:
    return callable(getattr(value, "reset", None)) and callable(getattr(value, "step", None))


def _maker(found: Any, name: str) -> Callable[[], Any]:
    """What makes an environment, of a class, a function that returns one, or one environment.

    Raises:
        InputError: It is none of these.
    """
    if isinstance(found, type) and not _fits(found):
        lacks = " and ".join(m for m in ("reset", "step") if not callable(getattr(found, m, None)))
        raise InputError(f"{name} has no {lacks}; an environment needs reset(task, variation) and step(text)")
    if not callable(found):
        if not _fits(found):
            raise InputError(f"{name} is a {type(found).__name__}; name a class with reset and step")
        return lambda: found
    if not isinstance(found, type) and _fits(found):
        return lambda: found

    def make() -> Any:
        try:
            made = found()
        except Exception as error:  # the user's code
            raise InputError(
                f"{name}() raised {type(error).__name__}: {str(error)[:300]}; an environment is made without arguments"
            ) from error
        if not _fits(made):
            raise InputError(f"{name}() gave a {type(made).__name__}, which has no reset and step")
        return made

    return make


def _entry(name: str) -> Kind:
    advice = "One of your own is a file, FILE.py:Class (docs/environments.md)."
    loaded = installed(GROUP, name, "environment", ours=OURS, advice=advice)
    return loaded if isinstance(loaded, Kind) else Kind(name, _maker(loaded, name), slots=_slots(loaded))
