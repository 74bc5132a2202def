"""Names that a user has given to model folders and GGUF files of their own (``colasearch models add``).

Only the names are kept, in the cache folder; the files stay where they are and are never deleted from here.
"""

from __future__ import annotations

import re
from pathlib import Path

from colasearch.errors import InputError
from colasearch.storage.files import cache_dir, read_json, waiting_lock, write_json

NAME = re.compile(r"[A-Za-z0-9][\w.-]{0,63}")


def registered() -> dict[str, str]:
    """Given names and the absolute paths that they stand for."""
    path = _file()
    return {str(k): str(v) for k, v in read_json(path).items()} if path.exists() else {}


def resolve(name: str) -> str:
    """The path behind a given name; any other name as it is."""
    return registered().get(name, name) if NAME.fullmatch(name) else name


def register(name: str, path: Path) -> None:
    """Let ``name`` stand for the folder or file ``path``.

    Raises:
        InputError: ``name`` cannot be one, or is taken.
    """
    if not NAME.fullmatch(name) or name.endswith(".gguf"):
        raise InputError(
            f"{name!r} cannot be a model's name; it must be letters, digits, '.', '_' and '-', at most 64, begin with "
            "a letter or digit and not end in .gguf"
        )
    with waiting_lock("registry"):
        names = registered()
        if names.get(name, str(path.resolve())) != str(path.resolve()):
            raise InputError(
                f"{name!r} already stands for {names[name]}; choose another name, or `colasearch models remove {name}`"
            )
        write_json(_file(), {**names, name: str(path.resolve())})


def forget(name: str) -> None:
    """Take a given name away; what it stood for stays."""
    with waiting_lock("registry"):
        write_json(_file(), {key: value for key, value in registered().items() if key != name})


def _file() -> Path:
    return cache_dir() / "names.json"
