"""Plants bugs in the package, one at a time, and checks that the tests turn red on each.

    python scripts/mutations.py [--list] [--tests FOLDER] [--record FILE] [NAME ...]

The bugs are in ``mutants.toml``: one or a few words of the source changed, and the test files that should notice. Each
runs in a temporary copy of the package, imported in place of the installed one; the working tree is never touched. What
takes seconds to import (torch, transformers) is imported once, and a process is forked for each bug.

``mutants_caught.json`` says which test caught a bug the last time. That test runs first, and the whole files only where
it passes, so that a campaign takes minutes; ``--record FILE`` writes such a record of this run. ``--tests`` takes the
tests of another tree: with those from before a change of the tests, it says whether as many bugs are caught as before.

Exit code 0: all were caught. 1: some were not. 2: a bug's text is not in the source any more (mend ``mutants.toml``),
or the tests fail without any bug.
"""

from __future__ import annotations

import argparse
import importlib
import json
import os
import shutil
import signal
import sys
import tempfile
import time
import tomllib
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
PARTS = ("verifiers", "searchers", "benchmarks")
"""Folders of the source tree that are sub-packages of ``colasearch`` once installed."""
RECORD = ROOT / "scripts" / "mutants_caught.json"
TIMEOUT_S = 400
"""Seconds after which tests count as failed: the bug makes something run for ever."""


@dataclass(frozen=True)
class Mutant:
    """One planted bug: in ``file``, ``old`` (which must occur once) becomes ``new``; ``tests`` should turn red."""

    name: str
    file: str
    old: str
    new: str
    tests: tuple[str, ...]


def read_mutants() -> dict[str, Mutant]:
    """All of them, by name."""
    rows = tomllib.loads((ROOT / "scripts" / "mutants.toml").read_text())["mutant"]
    return {row["name"]: Mutant(**{**row, "tests": tuple(row["tests"])}) for row in rows}


def find(mutant: Mutant) -> Path:
    """The file with the mutant's text, relative to the root: the one it names or, where that has moved, the only one.

    Raises:
        LookupError: The text is not there, or there more than once.
    """
    everywhere = (path for top in ("colasearch", *PARTS) for path in (ROOT / top).rglob("*.py"))
    for paths in ([ROOT / mutant.file], everywhere):
        counts = {path: path.read_text().count(mutant.old) for path in paths if path.exists()}
        found = [path for path, count in counts.items() if count]
        if found:
            break
    if len(found) != 1 or counts[found[0]] != 1:
        raise LookupError(
            f"{mutant.name}: {mutant.old!r} occurs {sum(counts.values())} times in {mutant.file}, not once"
        )
    return found[0].relative_to(ROOT)


class Copy:
    """A copy of the package, laid out as it is when installed."""

    def __init__(self, folder: Path) -> None:
        self.site, package = folder / "site", folder / "site" / "colasearch"
        nothing = shutil.ignore_patterns("__pycache__", "pretrained")
        shutil.copytree(ROOT / "colasearch", package, ignore=nothing)
        (package / "pretrained").symlink_to(ROOT / "colasearch" / "pretrained")
        for part in PARTS:
            shutil.copytree(ROOT / part, package / part, ignore=nothing)

    def path(self, file: Path) -> Path:
        """Where a file of the source tree lies in the copy."""
        return self.site / (file if file.parts[0] == "colasearch" else "colasearch" / file)

    def passes(self, tests: Sequence[str], log: Path) -> bool:
        """Whether these test files, or single tests (``FILE::TEST``), pass in time on the copy as it is."""
        child = os.fork()
        if not child:
            self._become_pytest(tests, log)
        end = time.monotonic() + TIMEOUT_S
        while time.monotonic() < end:
            done, status = os.waitpid(child, os.WNOHANG)
            if done:
                return os.waitstatus_to_exitcode(status) == 0
            time.sleep(0.05)
        os.killpg(child, signal.SIGKILL)
        os.waitpid(child, 0)
        return False

    def _become_pytest(self, tests: Sequence[str], log: Path) -> None:
        """Run pytest in this process, a child, and end it."""
        import pytest

        os.setsid()
        stream = os.open(log, os.O_WRONLY | os.O_CREAT | os.O_TRUNC)
        os.dup2(stream, 1)
        os.dup2(stream, 2)
        # The processes that tests start must find the copy too, and not the tree that they are started in.
        os.environ.update(PYTHONPATH=str(self.site), PYTHONSAFEPATH="1", PYTHONDONTWRITEBYTECODE="1")
        sys.dont_write_bytecode = True
        sys.path.insert(0, str(self.site))
        import colasearch

        assert Path(colasearch.__file__).is_relative_to(self.site), colasearch.__file__
        os._exit(pytest.main(["-x", "-q", "-p", "no:cacheprovider", *tests]))


def preload() -> None:
    """Import what every child needs, none of it ours and nothing computed with it."""
    for name in ("torch", "hypothesis.stateful", "sympy", "math_verify"):
        importlib.import_module(name)
    transformers = importlib.import_module("transformers")
    for name in ("AutoTokenizer", "LlamaConfig", "LlamaForCausalLM", "PreTrainedTokenizerFast"):
        getattr(transformers, name)  # it imports its parts when they are first named


class Campaign:
    """Plants one bug after another under the tests in folder ``tests``."""

    def __init__(self, copy: Copy, tests: Path, log: Path, first: Mapping[str, str]) -> None:
        self._copy, self._tests, self._log, self._first = copy, tests, log, first

    def passes(self, files: Iterable[str]) -> bool:
        """Whether these test files pass with what is planted now."""
        return self._copy.passes([str(self._tests / file) for file in files], self._log)

    def told(self) -> str:
        """What the tests that ran last have printed."""
        return self._log.read_text(errors="replace")

    def caught(self, mutant: Mutant) -> str | None:
        """The test that turns red with the bug planted, empty if none could before the time was up; None: all pass."""
        path = self._copy.path(find(mutant))
        text = path.read_text()
        path.write_text(text.replace(mutant.old, mutant.new))
        try:
            if (first := self._first.get(mutant.name)) and not self.passes([first]) and (test := self._red()):
                return test
            return None if self.passes(mutant.tests) else self._red()
        finally:
            path.write_text(text)

    def _red(self) -> str:
        """The first test that failed, as ``FILE::TEST``."""
        for line in self.told().splitlines():
            if line.startswith(("FAILED ", "ERROR ")) and "::" in line:
                file, _, test = line.split(" ", 1)[1].partition("::")
                name = Path(os.path.abspath(file)).relative_to(self._tests.resolve())
                return f"{name}::{test.split(' - ')[0]}"
        return ""


def main() -> int:
    """Run the mutants named on the command line, or all."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("names", nargs="*", metavar="NAME", help="bugs to plant; all by default")
    parser.add_argument("--list", action="store_true", help="print the names and stop")
    parser.add_argument("--tests", type=Path, default=ROOT / "tests", help="folder of the tests (default: tests)")
    parser.add_argument("--record", type=Path, help="add to this file which test caught each bug, null where none did")
    parser.add_argument("--no-check", action="store_true", help="do not run the tests without any bug first")
    given = parser.parse_args()
    mutants = read_mutants()
    if given.list:
        print("\n".join(mutants))
        return 0
    chosen = [mutants[name] for name in given.names or mutants]
    lost = []
    for mutant in mutants.values():
        try:
            find(mutant)
        except LookupError as error:
            lost.append(str(error))
    if lost:
        print("\n".join(lost), file=sys.stderr)
        return 2
    preload()
    first = json.loads(RECORD.read_text()) if RECORD.exists() else {}
    found: dict[str, str | None] = {}
    with tempfile.TemporaryDirectory() as folder:
        campaign = Campaign(Copy(Path(folder)), given.tests, Path(folder) / "log", first)
        if not given.no_check and not campaign.passes(sorted({test for mutant in chosen for test in mutant.tests})):
            print(f"the tests fail without any bug; mend that first\n{campaign.told()[-3000:]}", file=sys.stderr)
            return 2
        for mutant in chosen:
            begun = time.monotonic()
            test = found[mutant.name] = campaign.caught(mutant)
            state = "MISSED" if test is None else "caught"
            print(f"{state}  {time.monotonic() - begun:5.1f} s  {mutant.name}  {test or ''}", flush=True)
            if given.record:
                record(given.record, found)
    count = sum(test is not None for test in found.values())
    print(f"{count} of {len(found)} bugs were caught")
    return 0 if count == len(found) else 1


def record(path: Path, found: Mapping[str, str | None]) -> None:
    """Write what was found, beside what the file says of other bugs."""
    before = json.loads(path.read_text()) if path.exists() else {}
    path.write_text(json.dumps({**before, **found}, indent=1, ensure_ascii=False, sort_keys=True) + "\n")


if __name__ == "__main__":
    sys.exit(main())
