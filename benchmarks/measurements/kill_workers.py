"""SIGKILL random search workers in the middle of their work: is anything lost, duplicated or different?

    python -m colasearch.benchmarks.measurements.kill_workers --problems 200 --kills 50 --workers 2
    # No language model: the pool's and Ray's part alone.
    python -m colasearch.benchmarks.measurements.kill_workers --toy-seconds 6

Each kill hits another worker, one that is ready. A kill costs the start of a process and what the worker had begun, so
the time depends on how long problems are.
"""

from __future__ import annotations

import contextlib
import os
import random
import signal
import threading
import time
from typing import Any

import click

from colasearch.benchmarks.measurements.fault_runs import RETRIES, campaign_options, compare, subject, tell, work
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
@click.option("--workers", default=2, show_default=True)
@campaign_options(problems=200, kills=50)
def command(workers: int, kills: int, slots: int, count: int, seed: int, **size: Any) -> None:
    """Run the campaign, print what came of it as JSON, and exit with 1 if anything was lost or changed."""
    lm, recipe, items = subject(count, **size)
    with Pool(lm, workers=workers, slots=slots, threads=1) as pool:
        clean = work(pool, recipe, items)
    with Pool(lm, workers=workers, slots=slots, threads=1, retries=RETRIES) as pool:
        killer = Killer(pool, count, kills, seed)
        disturbed = work(pool, recipe, items, killer)
        replaced = pool.status().replaced
    report = {"kills": len(killer.killed), "replaced": replaced, "workers": workers, **compare(clean, disturbed)}
    tell(report, len(killer.killed), kills)


if __name__ == "__main__":
    command()
