"""How long a command takes to end after a signal, and whether it leaves a process behind.

    python -m colasearch.benchmarks.measurements.stop_times --rounds 10

``colasearch solve`` with a search that would go on for hours gets Ctrl-C, Ctrl-C twice, or SIGTERM at a drawn moment;
``bench --workers 2`` gets SIGKILL, once it has a record, so that its workers and Ray's processes must end by
themselves. ``solve`` is also given a damaged model. Prints one JSON object: for each case the longest seconds (of
SIGKILL until the last process is gone), exit codes, whether partial results came, processes left after 60 s.
"""

from __future__ import annotations

import argparse
import json
import os
import random
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

from colasearch.benchmarks.measurements.kill_driver import alive, family
from colasearch.model.sources import pretrained_root

MODEL = "countdown-tiny"
COLASEARCH = (sys.executable, "-m", "colasearch")
ENDLESS = ("--model", MODEL, "--task", "countdown", "--sims", "1000000", "--max-tokens", "200", "--threads", "1")
UNSOLVABLE = '{"numbers": [1, 1, 1, 1], "target": 99}'
LEFT_S = 60.0
CASES = {
    "ctrl_c": (signal.SIGINT,),
    "ctrl_c_twice": (signal.SIGINT, signal.SIGINT),
    "sigterm": (signal.SIGTERM,),
}


def stopped(problem: Path, signals: tuple[signal.Signals, ...], rng: random.Random) -> dict[str, Any]:
    """A search that is told to end; of two signals the time counts from the second."""
    command = [*COLASEARCH, "solve", str(problem), *ENDLESS, "--json"]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    assert process.stderr is not None
    next(line for line in process.stderr if line.startswith("searching"))
    time.sleep(rng.uniform(0.3, 3.0))
    for number in signals:
        process.send_signal(number)
        begun = time.monotonic()
    out, err = process.communicate()
    seconds = time.monotonic() - begun
    return {"seconds": seconds, "exit": process.returncode, "results": bool(out), "traceback": "Traceback" in err}


def killed(folder: Path, rng: random.Random) -> dict[str, Any]:
    """A driver of workers that is killed: how long until its last process is gone."""
    output = folder / "run"
    shutil.rmtree(output, ignore_errors=True)
    command = [*COLASEARCH, "bench", "countdown", "--model", MODEL, "--limit", "60", "--sims", "64", "--workers", "2"]
    process = subprocess.Popen(
        [*command, "--threads", "1", "--no-traces", "--output", str(output)],
        stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, start_new_session=True,
    )  # fmt: skip
    records = output / "problems.jsonl"
    while process.poll() is None and not (records.exists() and records.stat().st_size):
        time.sleep(0.05)
    time.sleep(rng.uniform(0.0, 1.0))
    pids = family(process.pid)
    process.kill()
    code, begun = process.wait(), time.monotonic()
    while (left := alive(pids)) and time.monotonic() - begun < LEFT_S:
        time.sleep(0.1)
    return {"seconds": time.monotonic() - begun, "exit": code, "processes": len(pids), "left": len(left)}


def refused(folder: Path, problem: Path, rng: random.Random) -> dict[str, Any]:
    """A model with one flipped bit."""
    copy = folder / "damaged"
    shutil.rmtree(copy, ignore_errors=True)
    shutil.copytree(pretrained_root() / MODEL, copy)
    path = copy / "model.safetensors"
    data = bytearray(path.read_bytes())
    data[rng.randrange(len(data))] ^= 1
    path.write_bytes(data)
    begun = time.monotonic()
    done = subprocess.run([*COLASEARCH, "solve", str(problem), "--model", str(copy)], capture_output=True, text=True)
    return {"seconds": time.monotonic() - begun, "exit": done.returncode, "named": str(path) in done.stderr}


def together(rows: list[dict[str, Any]]) -> dict[str, Any]:
    """Of each fact the values that came; of seconds the longest."""
    facts = {key: sorted({row[key] for row in rows}) for key in rows[0] if key != "seconds"}
    return {"rounds": len(rows), "longest_seconds": round(max(row["seconds"] for row in rows), 2), **facts}


def main() -> None:
    """Run as the arguments say."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rounds", type=int, default=10)
    parser.add_argument("--kills", type=int, default=3, help="rounds of SIGKILL, each with a start of Ray")
    parser.add_argument("--seed", type=int, default=0)
    given = parser.parse_args()
    rng, out = random.Random(given.seed), {}
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        (folder / "problem.json").write_text(UNSOLVABLE)
        for case, signals in CASES.items():
            out[case] = together([stopped(folder / "problem.json", signals, rng) for _ in range(given.rounds)])
        out["damaged_model"] = together([refused(folder, folder / "problem.json", rng) for _ in range(given.rounds)])
        if given.kills:
            out["driver_killed"] = together([killed(folder, rng) for _ in range(given.kills)])
    print(json.dumps({"cores": os.cpu_count(), **out}))


if __name__ == "__main__":
    main()
