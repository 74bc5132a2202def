"""Runs tests with every dependency at the lower bound that pyproject.toml gives it.

    python scripts/lower_bounds.py                          # the core tests, in an environment made for it
    python scripts/lower_bounds.py --env DIR tests/engine   # other tests, in an environment that is kept

torch stays at the version of constraints.txt: other builds of it are gigabytes. `HIGHER` has the bounds that cannot be
had beside that torch, with the version that is taken instead. What the bounds of the extras in `EXTRAS` say counts too.
An environment that is there already is used as it is.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
import tomllib
import venv
from pathlib import Path

from packaging.requirements import Requirement

ROOT = Path(__file__).resolve().parents[1]
PINNED = "torch"
"""Stays at the version of constraints.txt."""
HIGHER = {"sympy": "1.13.3"}
"""torch 2.13 wants these; an older torch takes the bounds themselves."""
EXTRAS = ("serve",)
TOOLS = ("pytest", "pytest-timeout", "hypothesis", "openai", "setuptools", "types-pyyaml")
"""What the tests need besides, at the versions of constraints.txt."""
TESTS = ("tests/cli", "tests/searchers", "tests/serve", "tests/verifiers", "tests/model/test_countdown_tiny.py")


def constraints() -> dict[str, str]:
    """Versions of constraints.txt by name."""
    lines = (ROOT / "constraints.txt").read_text(encoding="utf-8").splitlines()
    pins = (line.split("==") for line in lines if "==" in line and not line.startswith("#"))
    return {name.lower().replace("_", "-"): version.strip() for name, version in pins}


def lowest() -> dict[str, str]:
    """The lowest version that each dependency may have."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    extras = project["optional-dependencies"]
    found = {}
    for line in (*project["dependencies"], *(line for extra in EXTRAS for line in extras[extra])):
        wanted = Requirement(line)
        (bound,) = [one.version for one in wanted.specifier if one.operator == ">="]
        name = f"{wanted.name}[{','.join(wanted.extras)}]" if wanted.extras else wanted.name
        found[name] = HIGHER.get(wanted.name, bound)
    return found


def install(python: Path, pins: dict[str, str], bounds: dict[str, str]) -> None:
    """Put torch, the lowest versions, the tests' tools and this checkout into an environment."""
    pip = [str(python), "-m", "pip", "--disable-pip-version-check", "install", "--quiet"]
    torch = f"{PINNED}=={pins[PINNED]}"
    lowest_ones = [f"{name}=={version}" for name, version in bounds.items()]
    subprocess.run([*pip, torch], check=True)
    subprocess.run([*pip, torch, *lowest_ones, *(f"{name}=={pins[name]}" for name in TOOLS)], check=True)
    subprocess.run([*pip, "--no-deps", "--no-build-isolation", "--editable", str(ROOT)], check=True)


def main() -> None:
    """Make the environment, say what is in it, run the tests."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--env", type=Path, help="folder of the environment [default: a temporary one]")
    parser.add_argument("tests", nargs="*", default=TESTS)
    given = parser.parse_args()
    pins, bounds = constraints(), lowest()
    bounds.pop(PINNED)
    with tempfile.TemporaryDirectory() as name:
        folder = given.env or Path(name) / "env"
        python = folder / "bin" / "python"
        if not python.exists():
            venv.create(folder, with_pip=True)
            install(python, pins, bounds)
        listed = subprocess.run([str(python), "-m", "pip", "list", "--format=json"], capture_output=True, check=True)
        found = {one["name"].lower().replace("_", "-"): one["version"] for one in json.loads(listed.stdout)}
        print(", ".join(f"{name} {found[name.partition('[')[0]]}" for name in sorted(bounds)), flush=True)
        # Nothing is to be found in the environment that this script runs in.
        environment = {**os.environ, "PATH": f"{folder / 'bin'}{os.pathsep}{os.environ['PATH']}"}
        command = [str(python), "-m", "pytest", "-q", "-p", "no:cacheprovider", *map(str, given.tests)]
        sys.exit(subprocess.run(command, cwd=ROOT, env=environment, check=False).returncode)


if __name__ == "__main__":
    main()
