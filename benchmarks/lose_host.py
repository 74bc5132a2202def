"""The search that ``two_hosts.sh`` runs between two network namespaces: a host is cut off, comes back, and dies.

sudo benchmarks/two_hosts.sh --problems 150
"""

from __future__ import annotations

import json
import subprocess
import sys
import time
from pathlib import Path

import click

from colasearch.benchmarks.fault_runs import campaign_options, compare, problems, search, settings, small_model
from colasearch.cluster import Pool

OTHER = "colaB"


def _ip(*arguments: str) -> str:
    return subprocess.run(["ip", *arguments], check=True, capture_output=True, text=True).stdout


def _kill_other() -> None:
    for pid in _ip("netns", "pids", OTHER).split():
        subprocess.run(["kill", "-9", pid], check=False)


def _start_other(address: str) -> None:
    ray = str(Path(sys.executable).with_name("ray"))
    command = ["netns", "exec", OTHER, ray, "start", f"--address={address}", "--node-ip-address=10.77.0.2"]
    _ip(*command, "--num-cpus=1")


@click.command(help=__doc__)
@click.option("--address", required=True)
@campaign_options(problems=150)
def command(address: str, count: int, slots: int, sims: int, tokens: int, seed: int) -> None:
    """Run the campaign, print what came of it as JSON, and exit with 1 if anything was lost or changed."""
    del seed  # nothing here is drawn
    lm, items, how = small_model(), problems(count), settings(sims, tokens)
    with Pool(lm, workers=2, slots=slots, threads=1, address=address) as pool:
        clean = search(pool, items, how, lambda done: None)
    seen: list[str] = []

    def disturb(done: int) -> None:
        if done >= count // 4 and not seen:
            _ip("-n", OTHER, "link", "set", "cableB", "down")
            seen.append("cut off")
        elif pool.status().replaced and seen == ["cut off"]:
            # It was given up; what still runs there must not be believed when it is heard again.
            _ip("-n", OTHER, "link", "set", "cableB", "up")
            time.sleep(2)
            _kill_other()
            _start_other(address)
            seen.append("back")
        elif done >= count // 2 and seen == ["cut off", "back"] and pool.crew.size == 2:
            _kill_other()
            seen.append("killed")

    with Pool(lm, workers=2, slots=slots, threads=1, address=address, retries=10) as pool:
        disturbed = search(pool, items, how, disturb)
        replaced = pool.status().replaced
    result = {"events": seen, "replaced": replaced, **compare(clean, disturbed)}
    click.echo(json.dumps(result))
    raise SystemExit(bool(result["lost"] or result["duplicated"] or result["different"]))


if __name__ == "__main__":
    command()
