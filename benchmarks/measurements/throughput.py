"""Speed of the searchers' bookkeeping: simulations a second on the toy world, next to other libraries."""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass
from typing import Any

from colasearch.benchmarks.measurements.peers import PEERS
from colasearch.benchmarks.measurements.toy import ToyWorld
from colasearch.searchers import run


@dataclass(frozen=True, slots=True)
class Rate:
    """One measured configuration.

    Attributes:
        program: ``colasearch NAME`` or a peer's name.
        trees: Trees searched at once.
        sims: Simulations a tree.
        seconds: Least time of one search of all trees, after one search to warm up.
        sims_per_s: Simulations of all trees a second.
    """

    program: str
    trees: int
    sims: int
    seconds: float
    sims_per_s: float

    def to_json(self) -> dict[str, Any]:
        """Fields by name."""
        return asdict(self)


ENOUGH_SECONDS = 5.0
"""A job whose first run takes longer is timed by that run alone: warming up no longer matters."""


def time_job(job: Callable[[], object], repeats: int) -> float:
    """Least seconds of ``repeats`` runs after one to warm up; just one run of a job that takes long.

    The least, not the mean: other work on the machine only ever adds time.
    """
    start = time.perf_counter()
    job()
    first = time.perf_counter() - start
    if first > ENOUGH_SECONDS:
        return first
    seconds = []
    for _ in range(repeats):
        start = time.perf_counter()
        job()
        seconds.append(time.perf_counter() - start)
    return min(seconds)


def measure(
    program: str, make: Callable[[ToyWorld, list[int], int], Callable[[], object]], *, trees: int, sims: int,
    world: ToyWorld, repeats: int,
) -> Rate:  # fmt: skip
    """Measure one configuration; ``make`` prepares the job, which is not timed."""
    seconds = time_job(make(world, world.starts(trees), sims), repeats)
    return Rate(program, trees, sims, seconds, trees * sims / seconds)


def ours(algorithm: str) -> Callable[[ToyWorld, list[int], int], Callable[[], object]]:
    """Job of one of our algorithms with its default options."""
    return lambda world, starts, sims: lambda: run(algorithm, world, starts, sims=sims)


def compare(
    algorithms: list[str], trees: list[int], *, sims: int, actions: int, repeats: int, peers: bool
) -> Iterator[Rate | str]:
    """Measure ours and the peers at each number of trees; a string says why a peer is missing."""
    world = ToyWorld(actions=actions)
    missing: set[str] = set()
    for count in trees:
        for algorithm in algorithms:
            yield measure(
                f"colasearch {algorithm}", ours(algorithm), trees=count, sims=sims, world=world, repeats=repeats
            )
        for name, peer in PEERS.items() if peers else ():
            if name in missing:
                continue
            try:
                yield measure(name, peer, trees=count, sims=sims, world=world, repeats=repeats)
            except ModuleNotFoundError as error:
                missing.add(name)
                yield f"{name} is left out: {error.name} is not installed; pip install {name.split()[0]}"


def growth(algorithm: str, sims: list[int], *, trees: int, actions: int, repeats: int) -> Iterator[Rate]:
    """Measure one algorithm at growing trees: cost a simulation should grow no faster than log of the size."""
    world = ToyWorld(actions=actions)
    for count in sims:
        yield measure(f"colasearch {algorithm}", ours(algorithm), trees=trees, sims=count, world=world, repeats=repeats)


def machine() -> dict[str, Any]:
    """What the numbers depend on."""
    usable = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()
    return {"cpus": usable, "load_1min": round(os.getloadavg()[0], 2)}
