"""SIGKILL random search workers in the middle of their work: is anything lost, duplicated or different?

python -m colasearch.benchmarks.kill_workers --problems 200 --kills 50 --workers 2
"""

from __future__ import annotations

import contextlib
import json
import os
import random
import signal
import threading

import click

from colasearch.benchmarks.fault_runs import Run, compare, problems, search, settings, small_model
from colasearch.cluster import Pool
from colasearch.cluster.crew import Member


class Killer:
    """Kills a random worker shortly after the results whose numbers it drew."""

    def __init__(self, pool: Pool, count: int, kills: int, seed: int) -> None:
        self.pool, self.random, self.killed = pool, random.Random(seed), 0
        # Not after the last results: workers without work are no test. Several kills may follow one result.
        self.due = sorted(self.random.choices(range(1, max(2, count - 4)), k=kills))

    def __call__(self, done: int) -> None:
        """``done`` results are there."""
        while self.due and self.due[0] <= done:
            self.due.pop(0)
            threading.Timer(self.random.uniform(0, 1.0), self.kill).start()

    def kill(self) -> None:
        """Kill one, as soon as one is there."""
        members: list[Member] = []
        while not members:
            members = [member for member in self.pool.crew.members() if member.pid]
        with contextlib.suppress(ProcessLookupError):
            os.kill(self.random.choice(members).pid or 0, signal.SIGKILL)
            self.killed += 1


@click.command(help=__doc__)
@click.option("--problems", "count", default=200)
@click.option("--kills", default=50)
@click.option("--workers", default=2)
@click.option("--slots", default=4)
@click.option("--sims", default=32)
@click.option("--retries", default=10, help="Losses that a problem may suffer; here each suffers many.")
@click.option("--seed", default=0)
def command(count: int, kills: int, workers: int, slots: int, sims: int, retries: int, seed: int) -> None:
    """Run the campaign, print what came of it as JSON, and exit with 1 if anything was lost or changed."""
    lm, items, how = small_model(), problems(count), settings(sims)
    with Pool(lm, workers=workers, slots=slots, threads=1) as pool:
        clean = search(pool, items, how, lambda done: None)
    with Pool(lm, workers=workers, slots=slots, threads=1, retries=retries) as pool:
        killer = Killer(pool, count, kills, seed)
        disturbed: Run = search(pool, items, how, killer)
        replaced = pool.status().replaced
    result = {"kills": killer.killed, "replaced": replaced, "workers": workers, **compare(clean, disturbed)}
    click.echo(json.dumps(result))
    raise SystemExit(bool(result["lost"] or result["duplicated"] or result["different"]))


if __name__ == "__main__":
    command()
