"""The models that ship with the package, base and all: whole, small, and listed."""

from __future__ import annotations

import fnmatch
import json
import re
import tomllib
from pathlib import Path

import pytest

from colasearch.cli.main import main
from colasearch.model.known import KNOWN
from colasearch.model.sources import pretrained_root
from colasearch.storage.files import check_sums, sha256_of

ROOT = Path(__file__).resolve().parents[2]
WHOLE = [name for name, known in KNOWN.items() if known.hub is None]
"""Models whose base is nowhere else."""


@pytest.fixture(params=WHOLE)
def folder(request) -> Path:
    return pretrained_root() / request.param


def test_every_file_has_its_sum_and_all_are_small(folder):
    for one in (folder, folder / "base"):
        assert check_sums(one, "").keys() == {p.name for p in one.iterdir() if p.is_file()} - {"SHA256SUMS"}
    files = [p for p in folder.rglob("*") if p.is_file()]
    assert sum(p.stat().st_size for p in files) <= 16_000_000
    assert not [p for p in files if p.suffix in (".bin", ".pt", ".pkl", ".py")]
    config = json.loads((folder / "config.json").read_text())
    assert config["base"]["name"] == folder.name
    assert config["base"]["sha256"] == sha256_of(folder / "base" / "model.safetensors")


def test_every_file_is_package_data(folder):
    settings = tomllib.loads((ROOT / "pyproject.toml").read_text())
    patterns = settings["tool"]["setuptools"]["package-data"]["colasearch"]
    for path in folder.rglob("*"):
        name = path.relative_to(folder.parents[1]).as_posix()
        # A star of setuptools stays within one folder.
        assert path.is_dir() or any(fnmatch.fnmatch(name, p) and name.count("/") == p.count("/") for p in patterns), (
            f"{name} would be missing from a wheel"
        )


def test_the_card_says_how_it_was_made(folder):
    card = (folder / "README.md").read_text()
    assert f"# Latent actions for {folder.name}" in card
    for heading in ("## Stage: actions", "## Stage: policy", "## Base", "## Storage", "## How it was made"):
        assert heading in card
    assert re.search(r"^    colasearch (train base|experiment) ", card, re.MULTILINE)
    assert re.search(r"at commit [0-9a-f]{7,40}", card)
    assert re.search(r"\| \S+\.jsonl \| [\d,]+ \| [0-9a-f]{64} \|", card)


def test_models_lists_it(folder, capsys):
    assert main(["models", "--json"]) == 0
    (row,) = [m for m in json.loads(capsys.readouterr().out)["models"] if m["name"] == folder.name]
    assert row["latents"]
    assert row["packaged"] == str(folder / "base")
