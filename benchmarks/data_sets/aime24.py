"""AIME 2024, I and II: 30 problems whose answers are whole numbers from 0 to 999."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from colasearch.benchmarks.data_sets.load import Benchmark, Hub, Item, make_item


def convert(row: Mapping[str, Any], number: int, config: str | None) -> Item:
    """An answer such as ``033`` is the number 33; leading zeros are how the competition writes it."""
    return make_item(f"aime24-{row['id']}", row["problem"], int(row["answer"]))


BENCHMARK = Benchmark(
    name="aime24",
    title="AIME 2024, I and II",
    task="math",
    source=Hub("HuggingFaceH4/aime_2024", "2fe88a2f1091d5048c0f36abc874fb997b3dd99a", ("train",), convert),
    rows=30,
    sha256="842979743daf2fc34b1bf9e8e85a8eeb741eb0d30266a17753f1fce64fc589b4",
    note="Hash of the copy in QwenLM/Qwen2.5-Math (commit a45202b); that the hub's wording is the same was not "
    "checked. Problems: (c) MAA.",
)
