"""``from colasearch import NAME`` gives the function or class, whatever was imported before."""

from __future__ import annotations

import importlib
import os
import pkgutil
import subprocess
import sys
from pathlib import Path

import pytest

import colasearch

SUBMODULES = [module.name for module in pkgutil.iter_modules(colasearch.__path__)]


def modules() -> None:
    for name in SUBMODULES:
        if name != "__main__":
            importlib.import_module(f"colasearch.{name}")


def names() -> None:
    ours = importlib.import_module("colasearch")
    for name in ours.__all__:
        space: dict[str, object] = {}
        exec(f"from colasearch import {name}", space)
        assert name == "__version__" or callable(space[name]), f"{name} is {space[name]}"
        assert space[name] is getattr(ours, name)


def in_order(steps: list[str]) -> None:
    """Import ours anew, in the order of ``steps``; what is not ours, and takes seconds, stays imported."""
    for name in [name for name in sys.modules if name.partition(".")[0] == "colasearch"]:
        del sys.modules[name]
    for step in steps:
        {"modules": modules, "names": names}[step]()
    assert sys.modules["colasearch"] is not colasearch


def test_no_submodule_has_a_public_name():
    assert not set(SUBMODULES) & set(colasearch.__all__)
    assert set(colasearch.__all__) <= set(dir(colasearch))


@pytest.mark.parametrize("order", [("names", "modules", "names"), ("modules", "names")], ids=" ".join)
def test_names_hold_in_either_order_of_imports(order):
    """In processes of their own: this file as a program."""
    env = {**os.environ, "PYTHONPATH": str(Path(__file__).parent)}
    command = [sys.executable, "-m", "test_public_names", *order]
    done = subprocess.run(command, env=env, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert done.stdout == "imported anew\n"


def test_what_is_not_there_is_an_attribute_error():
    with pytest.raises(AttributeError, match="sovle"):
        colasearch.sovle  # noqa: B018


if __name__ == "__main__":
    in_order(sys.argv[1:])
    print("imported anew")
