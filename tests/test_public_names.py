"""``from colasearch import NAME`` gives the function or class, whatever was imported before."""

from __future__ import annotations

import pkgutil
import subprocess
import sys

import pytest

import colasearch

SUBMODULES = [module.name for module in pkgutil.iter_modules(colasearch.__path__)]
CHECK = """
import importlib, os, sys
import torch  # seconds, and nothing of ours: so each order is a fork of this process
from transformers import AutoModelForCausalLM, AutoTokenizer, Qwen2Model  # imported when they are named
def modules():
    for name in {submodules}:
        importlib.import_module("colasearch." + name)
def names():
    import colasearch
    for name in colasearch.__all__:
        space = {{}}
        exec(f"from colasearch import {{name}}", space)
        assert name == "__version__" or callable(space[name]), f"{{name}} is {{space[name]}}"
        assert space[name] is getattr(colasearch, name)
for order in sys.argv[1:]:
    assert not any(name.startswith("colasearch") for name in sys.modules)
    if child := os.fork():
        assert os.waitpid(child, 0)[1] == 0, order
        continue
    for step in order.split():
        globals()[step]()
    sys.exit()
"""


def test_no_submodule_has_a_public_name():
    assert not set(SUBMODULES) & set(colasearch.__all__)
    assert set(colasearch.__all__) <= set(dir(colasearch))


def test_names_hold_in_either_order_of_imports():
    submodules = [name for name in SUBMODULES if name != "__main__"]
    code = CHECK.format(submodules=submodules)
    orders = ["names modules names", "modules names"]
    done = subprocess.run([sys.executable, "-c", code, *orders], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr


def test_what_is_not_there_is_an_attribute_error():
    with pytest.raises(AttributeError, match="sovle"):
        colasearch.sovle  # noqa: B018
