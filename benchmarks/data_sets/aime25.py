"""AIME 2025, I and II: 30 problems whose answers are whole numbers from 0 to 999."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from colasearch.benchmarks.data_sets.load import Benchmark, Hub, Item, make_item


def convert(row: Mapping[str, Any], number: int, config: str | None) -> Item:
    """The hub's columns are ours."""
    return make_item(f"aime25-{number:02d}", row["problem"], row["answer"])


BENCHMARK = Benchmark(
    name="aime25",
    title="AIME 2025, I and II",
    task="math",
    source=Hub("math-ai/aime25", "563bb8404243c5f09de6ec262f2db674fe5bce9b", ("test",), convert),
    rows=30,
    note="No copy was at hand to hash; revision and row count pin it. Problems: (c) MAA.",
)
