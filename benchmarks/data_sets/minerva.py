"""Minerva's OCW courses: 272 undergraduate problems of science and mathematics (Lewkowycz et al. 2022)."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from colasearch.benchmarks.data_sets.load import Benchmark, Hub, Item, make_item


def convert(row: Mapping[str, Any], number: int, config: str | None) -> Item:
    """``question`` and ``answer``."""
    return make_item(f"minerva-{number:03d}", row["question"], row["answer"])


BENCHMARK = Benchmark(
    name="minerva",
    title="Minerva OCW courses, undergraduate science",
    task="math",
    source=Hub("math-ai/minervamath", "ee46ddc498933b1977577953250ca5c66be64f96", ("test",), convert),
    rows=272,
    note="No copy was at hand to hash; revision and row count pin it. Text from MIT OCW (CC BY-NC-SA).",
)
