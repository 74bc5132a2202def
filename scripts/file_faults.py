"""Let each file operation of a command go wrong in turn: is the run, begun again, the same as an undisturbed one?

    python scripts/file_faults.py bench
    python scripts/file_faults.py base --kinds kill,full --points 20
    python scripts/file_faults.py bench:full actions:kill,broken --points 5

A library that is loaded before all others (``file_faults.c``, compiled with gcc on the spot) counts what a command does
to files below its run folder: opening, reading, writing, syncing, renaming, removing. At the drawn operations the
process is killed (SIGKILL), the disk is full from there on (ENOSPC), or fails once (EIO). Then the command is given
again, with ``--resume`` where the run has a manifest. Wanted are: exit code 5 and the path where the disk refuses, no
traceback, the results of an undisturbed run, and no temporary file left over.
"""

from __future__ import annotations

import json
import os
import random
import re
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import click

SOURCE = Path(__file__).with_suffix(".c")
KINDS = ("kill", "full", "broken")
TEMPORARY = re.compile(r"\..+\.(tmp|old)-\d+")
CLEANING = ("unlink", "unlinkat", "rmdir")
"""Operations whose failure may go unsaid: what stays is cleared by the next run."""
TINY = ("--width", 16, "--layers", 1, "--heads", 1, "--context", 64)


def commands(root: Path) -> dict[str, list[str]]:
    """Small commands, one for each kind of run folder, without ``--output``; writes their data into ``root``."""
    rows = [{"problem": f"{i}+{i}?", "answer": str(2 * i), "solution": f"It is {2 * i}."} for i in range(24)]
    data = root / "texts.jsonl"
    data.write_text("".join(json.dumps(row) + "\n" for row in rows))
    common = ["--data", data, "--threads", 1, "--device", "cpu"]
    saving = ["--epochs", 2, "--batch-tokens", 512, "--save-every", 1, "--evaluate-every", 2, "--heldout", 0.3]
    sizes = ["--limit", 2, "--sims", 2, "--max-tokens", 12, "--batch-size", 2, "--threads", 1, "--device", "cpu"]
    found: dict[str, list[Any]] = {
        "bench": ["bench", "countdown", "--model", "countdown-tiny", *sizes],
        "base": ["train", "base", "--model", "countdown-tiny", *TINY, *common, *saving],
        "actions": ["train", "actions", "--model", "countdown-tiny", *common, *saving],
    }
    return {name: [str(part) for part in parts] for name, parts in found.items()}


@dataclass(frozen=True, slots=True)
class Outcome:
    """How a command ended.

    Attributes:
        code: Exit code; below 0 the signal that ended it.
        said: Its standard output and error.
        operations: The file operations, in order: what, and on what.
    """

    code: int
    said: str
    operations: tuple[tuple[str, str], ...]


def run(args: Sequence[str], output: Path, scratch: Path, kind: str = "none", at: int = 0) -> Outcome:
    """Run a command in a fork of this process, which has imported everything and has the library loaded."""
    log, said = scratch / "operations", scratch / "said"
    log.write_bytes(b"")
    child = os.fork()
    if not child:
        _become(args, output, log, said, kind, at)
    _, status = os.waitpid(child, 0)
    lines = (line.split(" ", 2) for line in log.read_text(errors="replace").splitlines())
    told = said.read_text(encoding="utf-8", errors="replace")
    return Outcome(os.waitstatus_to_exitcode(status), told, tuple((part[1], part[2]) for part in lines))


def _become(args: Sequence[str], output: Path, log: Path, said: Path, kind: str, at: int) -> None:
    from colasearch.cli.main import main

    file = os.open(said, os.O_WRONLY | os.O_CREAT | os.O_TRUNC)
    os.dup2(os.open(os.devnull, os.O_RDONLY), 0)
    os.dup2(file, 1)
    os.dup2(file, 2)
    os.environ |= {"FAULT_ROOT": str(output), "FAULT_LOG": str(log), "FAULT_KIND": kind, "FAULT_AT": str(at)}
    code = 70
    try:
        code = main([*args, "--output", str(output)])
    except BaseException:
        import traceback

        traceback.print_exc()
    finally:
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(code)


def content(folder: Path) -> dict[str, Any]:
    """All that a run ends with, by file name, without the numbers that a clock gives."""
    from colasearch.benchmarks.measurements.kill_driver import without_times

    found: dict[str, Any] = {}
    for path in sorted(folder.rglob("*")):
        name = path.relative_to(folder).as_posix()
        if path.name in (".lock", "manifest.json") or not path.is_file():
            continue
        if path.suffix == ".jsonl":
            rows = [without_times(json.loads(line)) for line in path.read_text().splitlines()]
            found[name] = sorted(json.dumps({k: v for k, v in row.items() if k != "sum"}) for row in rows)
        elif path.name == "summary.json":
            found[name] = without_times(json.loads(path.read_text()))
        elif path.suffix in (".html", ".md", ".svg", ".png") or path.name == "SHA256SUMS":
            found[name] = None  # made of the rest, and of times
        else:
            found[name] = path.read_bytes()
    return found


def faults_of(outcome: Outcome, kind: str, at: int, output: Path, whole: dict[str, Any]) -> list[str]:
    """What is wrong with how a disturbed command ended."""
    what = outcome.operations[at - 1][0] if len(outcome.operations) >= at else ""
    if kind == "kill":
        return [] if outcome.code == -9 else [f"exit code {outcome.code} after a kill"]
    wrong = [word for word in ("Traceback", "no path given") if word in outcome.said]
    if outcome.code == 5:
        if str(output) not in outcome.said:
            wrong.append("the path is not told")
    elif outcome.code or not (what in CLEANING or content(output) == whole):
        wrong.append(f"exit code {outcome.code}")
    return wrong


def try_point(args: Sequence[str], folder: Path, scratch: Path, kind: str, at: int, whole: dict[str, Any]) -> list[str]:
    """Disturb one run at operation ``at``, end it with a second command, and say what was wrong."""
    outcome = run(args, folder, scratch, kind, at)
    wrong = faults_of(outcome, kind, at, folder, whole)
    # Before its manifest is there a run may be begun again either way.
    resume = (folder / "manifest.json").exists() or at % 2 == 0
    again = run([*args, *(["--resume"] if resume else [])], folder, scratch)
    if again.code:
        wrong.append(f"begun again: exit code {again.code}: {again.said.strip()[-300:]}")
    elif content(folder) != whole:
        differ = {k for k in whole.keys() | content(folder).keys() if content(folder).get(k) != whole.get(k)}
        wrong.append(f"begun again: other results: {sorted(differ)[:5]}")
    if left := [path.name for path in folder.rglob("*") if TEMPORARY.fullmatch(path.name)]:
        wrong.append(f"begun again: left over: {left[:3]}")
    if wrong:
        what, path = outcome.operations[at - 1] if len(outcome.operations) >= at else ("?", "?")
        wrong.append(f"{what} {path}: {outcome.said.strip()[-400:]}")
    return wrong


def campaign(name: str, kinds: Sequence[str], points: int | None, seed: int, root: Path) -> dict[str, Any]:
    """Disturb command ``name`` at ``points`` drawn operations for each kind of fault; at all, where None."""
    import shutil

    args = commands(root)[name]
    clean = run(args, root / "whole", root)
    if clean.code:
        raise click.ClickException(f"the undisturbed command ended with {clean.code}: {clean.said[-2000:]}")
    whole = content(root / "whole")
    drawn = random.Random(seed)
    every = range(1, len(clean.operations) + 1)
    tried, wrong = 0, []
    for kind in kinds:
        for at in every if points is None else sorted(drawn.sample(every, min(points, len(every)))):
            folder = root / f"{kind}-{at}"
            found = try_point(args, folder, root, kind, at, whole)
            tried += 1
            wrong += [{"kind": kind, "at": at, "wrong": found}] if found else []
            shutil.rmtree(folder, ignore_errors=True)
    return {"command": name, "operations": len(clean.operations), "tried": tried, "wrong": wrong}


def compile_library(folder: Path) -> Path:
    """The preloaded library, compiled into ``folder``."""
    target = folder / "file_faults.so"
    done = subprocess.run(
        ["gcc", "-shared", "-fPIC", "-O1", "-o", str(target), str(SOURCE), "-ldl"], capture_output=True, text=True
    )
    if done.returncode:
        raise click.ClickException(f"gcc could not compile {SOURCE}: {done.stderr[-500:]}")
    return target


NAMES = ("bench", "base", "actions")


@click.command(help=__doc__)
@click.argument("names", nargs=-1, required=True, metavar="NAME[:KINDS]...")
@click.option("--kinds", default=",".join(KINDS), show_default=True, help="Of names without kinds of their own.")
@click.option("--points", type=click.IntRange(min=1), help="Operations drawn for each kind [default: all].")
@click.option("--seed", default=0, show_default=True)
def command(names: tuple[str, ...], kinds: str, points: int | None, seed: int) -> None:
    """Run the campaigns, print what came of each as a line of JSON, and exit with 1 if anything was wrong."""
    parts = [name.partition(":") for name in names]
    wanted = [(name, (own or kinds).split(",")) for name, _, own in parts]
    for known, given in ((NAMES, {name for name, _ in wanted}), (KINDS, {kind for _, k in wanted for kind in k})):
        if unknown := given - set(known):
            raise click.UsageError(f"unknown {sorted(unknown)}; known are {', '.join(known)}")
    with tempfile.TemporaryDirectory() as folder:
        root = Path(folder).resolve()
        if "file_faults.so" not in os.environ.get("LD_PRELOAD", ""):
            library = compile_library(root)
            environment = {**os.environ, "LD_PRELOAD": str(library), "OMP_NUM_THREADS": "1"}
            raise SystemExit(subprocess.run([sys.executable, __file__, *sys.argv[1:]], env=environment).returncode)
        from colasearch.benchmarks.data_sets.countdown import BENCHMARK
        from colasearch.cli.main import prepare
        from colasearch.cli.session import import_all

        prepare()
        import_all()
        BENCHMARK.source()  # kept for all forks
        os.environ["COLASEARCH_CACHE"] = str(root / "cache")
        wrong = False
        for name, chosen in wanted:
            (root / name).mkdir()
            told = campaign(name, chosen, points, seed, root / name)
            click.echo(json.dumps(told))
            wrong = wrong or bool(told["wrong"])
    raise SystemExit(wrong)


if __name__ == "__main__":
    command()
