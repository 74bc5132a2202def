"""``gym:TASK``: any task of reasoning-gym as a benchmark (extra ``[gym]``)."""

from __future__ import annotations

from functools import partial

from colasearch.benchmarks.data_sets.base import Benchmark, Item
from colasearch.verifiers.procedural import procedural_problems

COUNT = 100
SEED = 0


def make(task: str) -> list[Item]:
    """The first ``COUNT`` problems of seed ``SEED``.

    Raises:
        InputError: reasoning-gym has no such task.
        PrerequisiteError: reasoning-gym is not installed.
    """
    return [Item(labelled) for labelled in procedural_problems(task, COUNT, SEED)]


def benchmark(task: str) -> Benchmark:
    """The benchmark of a reasoning-gym task.

    reasoning-gym's tasks may change between its versions: the manifest has the version and the hash of the problems.
    """
    return Benchmark(
        name=f"gym:{task}",
        title=f"reasoning-gym's {task}, {COUNT} problems of seed {SEED}",
        task="procedural",
        source=partial(make, task),
        rows=COUNT,
    )
