"""Benchmarks by name; each is imported when it is asked for."""

from __future__ import annotations

from importlib import import_module

from colasearch.benchmarks.data_sets.base import Benchmark
from colasearch.benchmarks.names import BENCHMARKS
from colasearch.benchmarks.names import ROWS as OWN_ROWS
from colasearch.errors import InputError

MODULES: dict[str, tuple[str, str]] = {
    "countdown-5": ("countdown", "FIVE"),
    "countdown-hard": ("countdown", "HARD"),
    "math": ("math_test", "BENCHMARK"),
}
"""Benchmark: (module, name there), where it is not ``BENCHMARK`` of the module of its own name."""
ROWS = ("aime24", "aime25", "amc23", "minerva")
"""Benchmarks that are rows of ``competitions``."""


def get(name: str) -> Benchmark:
    """The benchmark called ``name``, or ``gym:TASK``.

    Raises:
        InputError: There is none.
    """
    if name.startswith("gym:"):
        from colasearch.benchmarks.data_sets.gym import benchmark

        return benchmark(name.removeprefix("gym:"))
    if name == OWN_ROWS:
        return Benchmark(name, "rows of the user's", task="math", source=list, rows=None)
    if name not in BENCHMARKS:
        raise InputError(f"unknown benchmark {name!r}; choose one of {', '.join(sorted(BENCHMARKS))} or gym:TASK")
    if name in ROWS:
        from colasearch.benchmarks.data_sets.competitions import SETS

        return SETS[name]
    module, attribute = MODULES.get(name, (name, "BENCHMARK"))
    found = getattr(import_module(f"colasearch.benchmarks.data_sets.{module}"), attribute)
    assert isinstance(found, Benchmark)
    return found
