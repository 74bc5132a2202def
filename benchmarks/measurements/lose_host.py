"""The search that ``two_hosts.sh`` runs between two network namespaces: a host is cut off, comes back, and dies.

    sudo benchmarks/measurements/two_hosts.sh --problems 150

It is cut off and killed only while a worker that is ready runs on it; ``events`` names that worker's process each time.
"""

from __future__ import annotations

import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import click

from colasearch.benchmarks.measurements.fault_runs import RETRIES, campaign_options, compare, subject, tell, work
from colasearch.cluster import Pool

OTHER = "colaB"


def _ip(*arguments: str) -> str:
    return subprocess.run(["ip", *arguments], check=True, capture_output=True, text=True).stdout


def _others() -> list[int]:
    """Processes on the second host."""
    return [int(pid) for pid in _ip("netns", "pids", OTHER).split()]


def _kill_other() -> None:
    for pid in _others():
        subprocess.run(["kill", "-9", str(pid)], check=False)


def _start_other(address: str) -> None:
    ray = str(Path(sys.executable).with_name("ray"))
    command = ["netns", "exec", OTHER, ray, "start", f"--address={address}", "--node-ip-address=10.77.0.2"]
    _ip(*command, "--num-cpus=1")


@click.command(help=__doc__)
@click.option("--address", required=True)
@campaign_options(problems=150)
def command(address: str, slots: int, count: int, seed: int, **size: Any) -> None:
    """Run the campaign, print what came of it as JSON, and exit with 1 if anything was lost or changed."""
    del seed  # nothing here is drawn
    lm, recipe, items = subject(count, **size)
    with Pool(lm, workers=2, slots=slots, threads=1, address=address) as pool:
        clean = work(pool, recipe, items)
    seen: list[str] = []

    def disturb(done: int) -> None:
        replaced = pool.status().replaced
        if len(seen) in (0, 2):
            # Before a loss: is there somebody to lose? The pool must have heard of the last loss to know.
            there = {member.pid for member in pool.crew.members()} & set(_others())
            if done < count // 4 * (1 + len(seen) // 2) or replaced != len(seen) // 2 or len(there) != 1:
                return
            if not seen:
                _ip("-n", OTHER, "link", "set", "cableB", "down")
                seen.append(f"cut off worker {there.pop()}")
            else:
                _kill_other()
                seen.append(f"killed worker {there.pop()}")
        elif len(seen) == 1 and replaced == 1:
            # It was given up; what still runs there must not be believed when it is heard again.
            _ip("-n", OTHER, "link", "set", "cableB", "up")
            time.sleep(2)
            _kill_other()
            _start_other(address)
            seen.append("back")

    with Pool(lm, workers=2, slots=slots, threads=1, address=address, retries=RETRIES) as pool:
        disturbed = work(pool, recipe, items, disturb)
        replaced = pool.status().replaced
    tell({"events": seen, "replaced": replaced, **compare(clean, disturbed)}, replaced, 2)


if __name__ == "__main__":
    command()
