"""ASDiv: 2,305 elementary-school word problems of many kinds (Miao et al. 2020)."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

from colasearch.benchmarks.data_sets.base import Benchmark, Hub, Item, make_item


def convert(row: Mapping[str, Any], number: int, config: str | None) -> Item:
    """Answers are written ``9 (apples)``; the unit in brackets is left out."""
    gold = re.sub(r"\s*\([^()]*\)\s*$", "", str(row["answer"])).strip()
    return make_item(
        f"asdiv-{number:04d}", f"{row['body']} {row['question']}".strip(), gold, subject=row.get("solution_type")
    )


BENCHMARK = Benchmark(
    name="asdiv",
    title="ASDiv, elementary-school word problems",
    task="math",
    source=Hub("EleutherAI/asdiv", None, ("validation",), convert, ("asdiv",)),
    rows=2305,
    note="Neither a revision nor a copy to hash was known: the row count alone is checked, and the hash that was found "
    "stands in the manifest. CC BY-NC 4.0.",
)
