"""Builds wheel and sdist into dist/ and checks what a user would get.

    python scripts/check_package.py                    # everything; installs the dependencies anew, which takes minutes
    python scripts/check_package.py --no-install       # sizes and contents only

Checked: sizes; that the wheel holds what the package needs and no tests; that the sdist builds the same wheel; and, in
an environment of its own, `pip check` and a search with the shipped model, with every connection refused.
"""

from __future__ import annotations

import argparse
import shutil
import subprocess
import sys
import tarfile
import tempfile
import venv
import zipfile
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
LARGEST = 35 * 2**20
"""Most bytes of a file that is released."""
NEEDED = (
    "colasearch/py.typed",
    "colasearch/report/page/page.html",
    "colasearch/report/page/tree.js",
    "colasearch/pretrained/countdown-tiny/model.safetensors",
    "colasearch/pretrained/smollm2-135m/model.safetensors",
    "colasearch/searchers/gumbel.py",
    "colasearch/verifiers/math.py",
    "colasearch/benchmarks/harness/runner.py",
)
NOT_PACKED = ("tests/", "docs/", "searchers/", "verifiers/", "benchmarks/", "scripts/", "jobs/")
BUILD = "import sys; from setuptools import build_meta as b; getattr(b, 'build_' + sys.argv[1])(sys.argv[2])"
OFFLINE = """
import socket, sys
def refuse(self, address, *rest):
    if self.family in (socket.AF_INET, socket.AF_INET6):
        raise SystemExit(f"a connection to {address} was tried")
    return connect(self, address, *rest)
connect, socket.socket.connect = socket.socket.connect, refuse
from colasearch.cli.main import main
sys.exit(main(sys.argv[1:]))
"""


def run(*command: object, cwd: Path = ROOT) -> str:
    """Run a command; its output, or the end of this script with what it said."""
    done = subprocess.run([str(word) for word in command], cwd=cwd, capture_output=True, text=True, check=False)
    if done.returncode:
        sys.exit(f"{' '.join(map(str, command))[:300]}\nended with {done.returncode}:\n{done.stdout}{done.stderr}")
    return done.stdout


def built(kind: str, source: Path, into: Path) -> Path:
    """A ``wheel`` or ``sdist`` of the project in ``source``, made with this environment's setuptools."""
    into.mkdir(parents=True, exist_ok=True)
    before = set(into.iterdir())
    run(sys.executable, "-c", BUILD, kind, into, cwd=source)
    (made,) = set(into.iterdir()) - before
    return made


def wheel_names(wheel: Path) -> list[str]:
    """Files of the wheel, its metadata folder left out."""
    with zipfile.ZipFile(wheel) as archive:
        return sorted(name for name in archive.namelist() if ".dist-info/" not in name)


def check_contents(wheel: Path, sdist: Path) -> None:
    """Sizes and files."""
    for path in (wheel, sdist):
        size = path.stat().st_size
        print(f"{path.name}: {size / 2**20:.1f} MiB")
        if size > LARGEST:
            sys.exit(f"{path.name} has {size} bytes; {LARGEST} are the most")
    names = wheel_names(wheel)
    missing = sorted(set(NEEDED) - set(names))
    strays = [name for name in names if name.startswith(NOT_PACKED) or name.endswith(".pyc")]
    if missing or strays:
        sys.exit(f"{wheel.name} lacks {missing} and should not have {strays[:5]}")
    with tempfile.TemporaryDirectory() as folder:
        with tarfile.open(sdist) as archive:
            archive.extractall(folder, filter="data")
        (source,) = Path(folder).iterdir()
        again = wheel_names(built("wheel", source, Path(folder) / "again"))
    if again != names:
        sys.exit(f"the sdist builds another wheel; differing: {sorted(set(again) ^ set(names))[:10]}")
    print(f"{len(names)} files; the sdist builds the same wheel")


def check_installed(wheel: Path) -> None:
    """Install into an environment of its own, and search there without a network."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        venv.create(folder / "env", with_pip=True)
        python = folder / "env" / "bin" / "python"
        pip = (python, "-m", "pip", "--disable-pip-version-check")
        # torch first, as in the Makefile: the CPU build where there is one. Then the wheel, with CI's versions.
        pins = (ROOT / "constraints.txt").read_text(encoding="utf-8").splitlines()
        run(*pip, "install", "--quiet", next(pin for pin in pins if pin.startswith("torch==")), cwd=folder)
        run(*pip, "install", "--quiet", "--constraint", ROOT / "constraints.txt", wheel, cwd=folder)
        print(run(*pip, "check", cwd=folder).strip())
        shutil.copy(ROOT / "examples" / "countdown.json", folder)
        offline = (python, "-c", OFFLINE, "solve", "countdown.json", "--sims", "16", "--json")
        print(run("env", f"COLASEARCH_CACHE={folder / 'cache'}", *offline, cwd=folder).strip()[:200])
        print(run(folder / "env" / "bin" / "colasearch", "--version", cwd=folder).strip())


def main() -> None:
    """Build, check, and leave the files in dist/."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--no-install", action="store_true", help="only sizes and contents")
    parser.add_argument("--output", type=Path, default=ROOT / "dist")
    given = parser.parse_args()
    for stale in (ROOT / "build", *given.output.glob("colasearch-*")):
        shutil.rmtree(stale) if stale.is_dir() else stale.unlink(missing_ok=True)
    wheel, sdist = built("wheel", ROOT, given.output), built("sdist", ROOT, given.output)
    check_contents(wheel, sdist)
    if not given.no_install:
        check_installed(wheel)
    print("the package is fine")


if __name__ == "__main__":
    main()
