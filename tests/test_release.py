"""What is released: versions that agree, a workflow that runs the checks, and a package that works on its own."""

from __future__ import annotations

import re
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest
import yaml

import colasearch

ROOT = Path(__file__).resolve().parents[1]
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]


def test_the_version_is_the_same_everywhere_and_stands_in_the_changelog():
    assert PROJECT["version"] == colasearch.__version__
    headings = re.findall(r"^## (\S+)", (ROOT / "CHANGELOG.md").read_text(), re.MULTILINE)
    assert headings[0] == "Unreleased" or headings[0] == PROJECT["version"]
    assert PROJECT["version"] in headings


def test_the_workflow_runs_the_checks_of_ci_on_every_python_that_is_named():
    workflow = yaml.safe_load((ROOT / ".github" / "workflows" / "checks.yml").read_text())
    named = [found for line in PROJECT["classifiers"] if (found := re.search(r":: (3\.\d+)$", line))]
    jobs = workflow["jobs"]
    for job in ("test", "package"):
        assert jobs[job]["strategy"]["matrix"]["python"] == [found.group(1) for found in named]
    steps = " ".join(step.get("run", "") for job in jobs.values() for step in job["steps"])
    for check in re.findall(r"^make (\w+)", (ROOT / ".ci" / "run").read_text(), re.MULTILINE):
        assert f"make {check}" in steps


def test_every_pinned_documentation_package_is_one_that_make_docs_installs():
    pins = {line.split("==")[0].lower() for line in (ROOT / "constraints.txt").read_text().splitlines() if "==" in line}
    for extra in ("docs", "dev"):
        for requirement in PROJECT["optional-dependencies"][extra]:
            assert re.split(r"[\[><=! ]", requirement)[0].lower() in {p.replace("_", "-") for p in pins} | pins


@pytest.mark.slow
def test_wheel_and_sdist_install_and_search_without_network(tmp_path):
    command = [sys.executable, ROOT / "scripts" / "check_package.py", "--output", tmp_path / "dist"]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    assert "No broken requirements found" in done.stdout
    assert "the package is fine" in done.stdout
