"""Names of all benchmarks; each is imported when it is asked for."""

from __future__ import annotations

from importlib import import_module

from colasearch.benchmarks.data import Benchmark
from colasearch.errors import InputError

BENCHMARKS: dict[str, tuple[str, str]] = {
    "aime24": ("colasearch.benchmarks.aime24", "BENCHMARK"),
    "aime25": ("colasearch.benchmarks.aime25", "BENCHMARK"),
    "amc23": ("colasearch.benchmarks.amc23", "BENCHMARK"),
    "asdiv": ("colasearch.benchmarks.asdiv", "BENCHMARK"),
    "countdown": ("colasearch.benchmarks.countdown", "BENCHMARK"),
    "countdown-hard": ("colasearch.benchmarks.countdown", "HARD"),
    "game24": ("colasearch.benchmarks.game24", "BENCHMARK"),
    "gsm8k": ("colasearch.benchmarks.gsm8k", "BENCHMARK"),
    "math": ("colasearch.benchmarks.math_test", "BENCHMARK"),
    "math500": ("colasearch.benchmarks.math500", "BENCHMARK"),
    "minerva": ("colasearch.benchmarks.minerva", "BENCHMARK"),
    "olympiadbench": ("colasearch.benchmarks.olympiadbench", "BENCHMARK"),
    "svamp": ("colasearch.benchmarks.svamp", "BENCHMARK"),
}
"""Benchmark: (module, its name there)."""


def get(name: str) -> Benchmark:
    """The benchmark called ``name``, or ``gym:TASK``.

    Raises:
        InputError: There is none.
    """
    if name.startswith("gym:"):
        from colasearch.benchmarks.gym import benchmark

        return benchmark(name.removeprefix("gym:"))
    if name not in BENCHMARKS:
        raise InputError(f"unknown benchmark {name!r}; choose one of {', '.join(sorted(BENCHMARKS))} or gym:TASK")
    module, attribute = BENCHMARKS[name]
    found = getattr(import_module(module), attribute)
    assert isinstance(found, Benchmark)
    return found
