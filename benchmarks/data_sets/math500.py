"""MATH-500: the 500 test problems of MATH that "Let's verify step by step" (2023) held out."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from colasearch.benchmarks.data_sets.base import Benchmark, Hub, Item, make_item


def convert(row: Mapping[str, Any], number: int, config: str | None) -> Item:
    """The hub's columns are ours."""
    return make_item(
        row["unique_id"], row["problem"], row["answer"], subject=row.get("subject"), level=row.get("level")
    )


BENCHMARK = Benchmark(
    name="math500",
    title="MATH-500, competition mathematics, 7 subjects, 5 levels",
    task="math",
    source=Hub("HuggingFaceH4/MATH-500", "6e4ed1a2a79af7d8630a6b768ec859cb5af4d3be", ("test",), convert),
    rows=500,
    sha256="9b34dbfc465f4c3ddea6135a4bf4a00deb26430c2576d244b9747b4cf79b7bec",
    binding=True,
    note="The revision's test.jsonl is the file of openai/prm800k, byte for byte (SHA-256 35dc4108...), from which the "
    "hash of the rows was computed. MATH: MIT; the problems' own rights are disputed: measure, do not redistribute.",
)
