"""AMC 12 of 2023: the 40 problems whose answers are numbers, asked without choices."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from colasearch.benchmarks.data_sets.load import Benchmark, Hub, Item, make_item


def convert(row: Mapping[str, Any], number: int, config: str | None) -> Item:
    """Answers are stored as floats; 27.0 is the number 27."""
    answer = str(row["answer"])
    return make_item(f"amc23-{row['id']}", row["question"], answer.removesuffix(".0"))


BENCHMARK = Benchmark(
    name="amc23",
    title="AMC 12 of 2023",
    task="math",
    source=Hub("math-ai/amc23", "80815d37005feb82cd7f8fbc6901d5d3eff43057", ("test",), convert),
    rows=40,
    note="No copy was at hand to hash; revision and row count pin it. Problems: (c) MAA.",
)
