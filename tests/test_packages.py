"""Every package of the source tree is in the wheel."""

from __future__ import annotations

import tomllib
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent


def test_pyproject_lists_every_package():
    listed = tomllib.loads((ROOT / "pyproject.toml").read_text())["tool"]["setuptools"]["packages"]
    found = {
        ".".join(init.parent.relative_to(ROOT).parts)
        for top in ("colasearch", "benchmarks", "searchers", "verifiers")
        for init in (ROOT / top).rglob("__init__.py")
    }
    assert {name if name.startswith("colasearch") else f"colasearch.{name}" for name in found} == set(listed)
