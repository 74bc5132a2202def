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
import time

import click

from colasearch.benchmarks.fault_runs import Run, campaign_options, compare, problems, search, settings, small_model
from colasearch.cluster import Pool


class Killer:
    """Kills a random worker shortly after the results whose numbers it drew."""

    def __init__(self, pool: Pool, count: int, kills: int, seed: int) -> None:
        self.pool, self.random = pool, random.Random(seed)
        self.killed: set[int] = set()
        self.lock = threading.Lock()
        # Not after the last results: workers without work are no test. Several kills may follow one result.
        self.due = sorted(self.random.choices(range(1, max(2, count - 4)), k=kills))

    def __call__(self, done: int) -> None:
        """``done`` results are there."""
        while self.due and self.due[0] <= done:
            self.due.pop(0)
            timer = threading.Timer(self.random.uniform(0, 1.0), self.kill)
            timer.daemon = True  # the last ones may find no worker any more
            timer.start()

    def kill(self) -> None:
        """Kill one that was not killed before, as soon as one is there."""
        with self.lock:
            pids: list[int] = []
            while not pids:
                pids = [m.pid for m in self.pool.crew.members() if m.pid and m.pid not in self.killed]
                time.sleep(0.01)
            pid = self.random.choice(pids)
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
                self.killed.add(pid)


@click.command(help=__doc__)
@click.option("--kills", default=50)
@click.option("--workers", default=2)
@click.option("--retries", default=10, help="Losses that a problem may suffer; here each suffers many.")
@campaign_options(problems=200)
def command(kills: int, workers: int, retries: int, count: int, slots: int, sims: int, tokens: int, seed: int) -> None:
    """Run the campaign, print what came of it as JSON, and exit with 1 if anything was lost or changed."""
    lm, items, how = small_model(), problems(count), settings(sims, tokens)
    with Pool(lm, workers=workers, slots=slots, threads=1) as pool:
        clean = search(pool, items, how, lambda done: None)
    with Pool(lm, workers=workers, slots=slots, threads=1, retries=retries) as pool:
        killer = Killer(pool, count, kills, seed)
        disturbed: Run = search(pool, items, how, killer)
        replaced = pool.status().replaced
    result = {"kills": len(killer.killed), "replaced": replaced, "workers": workers, **compare(clean, disturbed)}
    click.echo(json.dumps(result))
    raise SystemExit(bool(result["lost"] or result["duplicated"] or result["different"]))


if __name__ == "__main__":
    command()
