"""GSM8K's test split: grade-school word problems (Cobbe et al. 2021)."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from colasearch.benchmarks.data_sets.base import Benchmark, Hub, Item, make_item


def convert(row: Mapping[str, Any], number: int, config: str | None) -> Item:
    """The gold answer stands after ``####``, perhaps with thousands separators."""
    gold = str(row["answer"]).rpartition("####")[2].strip().replace(",", "")
    return make_item(f"gsm8k-test-{number:05d}", row["question"], gold)


BENCHMARK = Benchmark(
    name="gsm8k",
    title="GSM8K test, grade-school word problems",
    task="math",
    source=Hub("openai/gsm8k", "740312add88f781978c0658806c59bc2815b9866", ("test",), convert, ("main",)),
    rows=1319,
    sha256="9d5fbd9d4935c7f1de43c2d8ee6fe030eb664a1b535054e98972b4d77bf38b92",
    note="Hash of the rows of openai/grade-school-math (commit 3101c7d); that the hub's are the same letter by letter "
    "was not checked. MIT.",
)
