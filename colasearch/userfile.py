"""What users bring: Python files that they name, which are run, and entry points of packages."""

from __future__ import annotations

import contextlib
import hashlib
import importlib.util
import sys
from collections.abc import Iterable
from difflib import get_close_matches
from importlib.metadata import entry_points
from pathlib import Path
from types import ModuleType
from typing import Any

from colasearch.errors import InputError, PrerequisiteError

_loaded: dict[Path, ModuleType] = {}


def load_file(path: str) -> ModuleType:
    """The module that a file makes; run once a process. Modules that stand beside it can be imported.

    Raises:
        InputError: It cannot be read, or raises.
    """
    file = Path(path).expanduser().resolve()
    if file in _loaded:
        return _loaded[file]
    if not file.is_file():
        raise InputError(f"there is no file {path}; give the path of a Python file")
    name = f"_colasearch_user_{hashlib.sha256(str(file).encode()).hexdigest()[:12]}"
    spec = importlib.util.spec_from_file_location(name, file)
    if spec is None or spec.loader is None:
        raise InputError(f"{path} is no Python file; its name must end with .py")
    module = importlib.util.module_from_spec(spec)
    if str(file.parent) not in sys.path:
        sys.path.append(str(file.parent))  # at the end: a user's json.py must not replace Python's
    sys.modules[name] = module
    try:
        with contextlib.redirect_stdout(sys.stderr):  # results alone go to standard output
            spec.loader.exec_module(module)
    except (Exception, SystemExit) as error:
        del sys.modules[name]
        where = getattr(error, "lineno", None)
        line = f", line {where}" if where else ""
        raise InputError(f"{path} does not run: {type(error).__name__}: {str(error)[:300]}{line}") from error
    _loaded[file] = module
    return module


def attribute_of(module: ModuleType, name: str, path: str) -> Any:
    """What a user's file calls ``name``.

    Raises:
        InputError: It has nothing of that name.
    """
    if not hasattr(module, name):
        there = [key for key, value in vars(module).items() if not key.startswith("_") and callable(value)]
        raise InputError(
            f"{path} has no {name!r}; it has {', '.join(there) or 'no functions'}: name one as {path}:NAME"
        )
    return getattr(module, name)


def file_sha256(path: str) -> str:
    """SHA-256 of a user's file, for the manifest of a run that depends on it.

    Raises:
        InputError: It cannot be read.
    """
    try:
        return hashlib.sha256(Path(path).expanduser().read_bytes()).hexdigest()
    except OSError as error:
        raise InputError(f"{path} cannot be read ({error.strerror}); give the path of a Python file") from None


def installed(group: str, name: str, what: str, *, ours: Iterable[str] = (), advice: str = "") -> Any:
    """What an installed package offers as the entry point ``name`` of ``group``.

    Args:
        group: As ``colasearch.tasks``.
        name: What the user asked for.
        what: What it is, for messages: ``task``.
        ours: Names that there are without any package.
        advice: What else the user might have meant, as a sentence.

    Raises:
        InputError: No package has it.
        PrerequisiteError: It cannot be imported.
    """
    found = entry_points(group=group, name=name)
    if not found:
        known = sorted({*ours, *entry_points(group=group).names})
        near = get_close_matches(name, known, n=1)
        meant = f" Did you mean {near[0]}?" if near else ""
        there = ", ".join(known) or "none"
        raise InputError(f"unknown {what} {name!r}; known {what}s are {there}. {advice}{meant}")
    try:
        return next(iter(found)).load()
    except Exception as error:  # someone else's package
        raise PrerequisiteError(f"the {what} {name!r} cannot be imported: {type(error).__name__}: {error}") from error
