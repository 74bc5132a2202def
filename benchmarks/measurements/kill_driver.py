"""SIGKILL the driver of a benchmark on workers, again and again, and resume: is the summary that of a quiet run?

    python -m colasearch.benchmarks.measurements.kill_driver --kills 20 --limit 100

One run is killed at every one of the drawn points and resumed each time, then ended in peace. Counted are problems that
were done twice, processes that outlived their driver by half a minute, and differences from a run that was left alone.
"""

from __future__ import annotations

import json
import os
import random
import signal
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import click

ORPHANS_S = 30.0
"""All processes of a killed driver must be gone by then."""


def without_times(thing: Any) -> Any:
    """A summary without the numbers that a clock gives."""
    if isinstance(thing, dict):
        return {k: without_times(v) for k, v in thing.items() if "seconds" not in k and "per_s" not in k}
    return [without_times(v) for v in thing] if isinstance(thing, list) else thing


def _start(arguments: list[str], output: Path) -> subprocess.Popen[bytes]:
    resume = ["--resume"] if output.exists() else []
    command = [sys.executable, "-m", "colasearch", "bench", *arguments, "--output", str(output), *resume]
    return subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, start_new_session=True)


def _records(output: Path) -> list[tuple[Any, ...]]:
    path = output / "problems.jsonl"
    found = []
    for line in path.read_text().splitlines() if path.exists() else []:
        try:
            record = json.loads(line)
        except ValueError:
            continue  # torn by the kill; the next start drops it
        found.append((record["problem_id"], record["arm"], record["sims"]))
    return found


def family(pid: int) -> set[int]:
    """A process and all its descendants."""
    parents: dict[int, int] = {}
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit():
            try:
                parents[int(entry.name)] = int((entry / "stat").read_text().rpartition(")")[2].split()[1])
            except OSError:
                continue
    found = {pid}
    while more := {child for child, parent in parents.items() if parent in found} - found:
        found |= more
    return found


def alive(pids: set[int]) -> set[int]:
    """Those of the processes that have not ended."""
    found = set()
    for pid in pids:
        try:
            state = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
        except OSError:
            continue
        if state != "Z":
            found.add(pid)
    return found


@click.command(help=__doc__)
@click.option("--benchmark", default="countdown")
@click.option("--model", required=True, help="Small, or each start takes long.")
@click.option("--limit", default=100)
@click.option("--sims", default="16")
@click.option("--workers", default=2)
@click.option("--kills", default=20)
@click.option("--seed", default=0)
def command(benchmark: str, model: str, limit: int, sims: str, workers: int, kills: int, seed: int) -> None:
    """Run the campaign, print what came of it as JSON, and exit with 1 if anything was lost or changed."""
    arguments = [benchmark, "--model", model, "--limit", str(limit), "--sims", sims, "--threads", "1"]
    arguments += ["--workers", str(workers), "--batch-size", "4", "--no-traces"]
    drawn = random.Random(seed)
    with tempfile.TemporaryDirectory() as folder:
        quiet, killed = Path(folder) / "quiet", Path(folder) / "killed"
        begun = time.monotonic()
        if code := _start(arguments, quiet).wait():
            raise SystemExit(f"the undisturbed run ended with {code}")
        whole = time.monotonic() - begun
        orphans = strikes = early = recomputed = 0
        slowest = 0.0
        # Half of the kills by the clock from the start on, half after so many more records: both ends are covered.
        steps = max(1, len(_records(quiet)) // (kills + 1))
        for strike in range(kills):
            before = _records(killed)
            process = _start(arguments, killed)
            if strike % 2:
                wait = time.monotonic() + drawn.uniform(0, whole / 3)
                while time.monotonic() < wait and process.poll() is None:
                    time.sleep(0.05)
            else:
                goal = len(before) + drawn.randint(1, 2 * steps)
                while process.poll() is None and len(_records(killed)) < goal:
                    time.sleep(0.05)
                time.sleep(drawn.uniform(0, 0.5))
            if process.poll() is not None:
                break  # it has ended before it could be killed
            pids = family(process.pid)
            os.kill(process.pid, signal.SIGKILL)
            process.wait()
            strikes += 1
            early += len(_records(killed)) == len(before)
            end = time.monotonic() + ORPHANS_S
            while (left := alive(pids)) and time.monotonic() < end:
                time.sleep(0.2)
            slowest = max(slowest, time.monotonic() - end + ORPHANS_S)
            orphans += len(left)
        code = _start(arguments, killed).wait()
        records = _records(killed)
        recomputed = len(records) - len(set(records))
        same = without_times(json.loads((quiet / "summary.json").read_text())) == without_times(
            json.loads((killed / "summary.json").read_text())
        )
    result = {
        "kills": strikes,
        "kills_without_progress": early,
        "exit": code,
        "records": len(records),
        "recomputed": recomputed,
        "orphans": orphans,
        "slowest_end_seconds": round(slowest, 1),
        "same_summary": same,
    }
    click.echo(json.dumps(result))
    raise SystemExit(bool(code or recomputed or orphans or not same))


if __name__ == "__main__":
    command()
